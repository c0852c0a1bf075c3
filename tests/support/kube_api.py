"""A stand-in for the Kubernetes API over real HTTP: objects, server-side apply, watches, and faults on demand.

What is only looked at (nodes, secrets, rights ...) is in :mod:`kube_contents`.

kmock was looked at: it knows no server-side apply (field managers and their conflicts are the point here), and its
server lives in the test's own event loop, which a blocking client would stop. What this one shows is that the rollout
keeps its side of the protocol; whether a real API server agrees only a real one can tell.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kube_contents import KubeContents, chosen

Object = dict[str, Any]
USER = "system:serviceaccount:serving:rollout"


@dataclass
class Fault:
    """What happens to requests instead of an answer."""

    method: str
    """HTTP method, or WATCH."""
    path: str
    """Part of the path."""
    action: str
    """``status``, ``delay`` (then answers), ``drop`` (closes the connection), ``gone`` (a watch's error event),
    ``half`` (a watch that ends in the middle of a line)."""
    code: int = 500
    message: str = "injected"
    seconds: float = 0.0
    times: int = 1


@dataclass
class Request:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    body: Object | None
    content: str


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of each field that one manager can own; a list is one field."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    else:
        yield path, value


@dataclass
class KubeApi:
    """The server's state."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    owners: dict[tuple[str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Fields that each manager applied, of each object."""
    changes: list[tuple[int, str, str, Object]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    """Verb and plural."""
    missing: set[str] = field(default_factory=set)
    """Plurals whose kinds the cluster does not know."""
    logs: Callable[[str], str] = lambda pod: ""
    """Log of a pod."""
    admit: Callable[[Object], tuple[int, str] | None] = lambda found: None
    """Webhook: HTTP status and message of a refusal; None lets the object in."""
    deleted: Callable[[Object], None] = lambda found: None
    """Told of each object that was deleted."""
    controller: Callable[[Object], Object | None] = lambda found: None
    """Status that follows an apply; None for none."""
    controller_seconds: float = 0.0
    contents: KubeContents = field(default_factory=KubeContents)
    """What a single GET finds, access reviews and the proxy of services."""
    token: str = "secret-token"
    """What the kubeconfig holds; another is refused."""
    url: str = ""
    condition: threading.Condition = field(default_factory=threading.Condition)

    @property
    def version(self) -> int:
        return self.changes[-1][0] if self.changes else 100

    def fault(self, method: str, path: str, action: str, **options: Any) -> None:
        self.faults.append(Fault(method, path, action, **options))

    def take_fault(self, method: str, path: str) -> Fault | None:
        for one in self.faults:
            if one.method == method and one.path in path and one.times > 0:
                one.times -= 1
                return one
        return None

    def apply(self, plural: str, name: str, manager: str, manifest: Object, *, force: bool) -> tuple[int, Object]:
        """Return HTTP status and answer of a server-side apply."""
        with self.condition:
            key = (plural, name)
            owners = self.owners.setdefault(key, {})
            wanted = dict(leaves({"spec": manifest.get("spec", {}), "metadata": {
                "labels": manifest["metadata"].get("labels", {}),
                "annotations": manifest["metadata"].get("annotations", {}),
            }}))
            causes = [
                {"reason": "FieldManagerConflict", "message": f'conflict with "{other}" using apps/v1', "field": path}
                for other, owned in owners.items() if other != manager
                for path in sorted(set(owned) & set(wanted)) if owned[path] != wanted[path]
            ]
            if causes and not force:
                return 409, status_of(409, "Apply failed with conflicts", causes=causes)
            for other in set(owners) - {manager}:
                owners[other] = {path: value for path, value in owners[other].items() if path not in wanted or
                                 value == wanted[path]}
            owners[manager] = wanted
            before = self.objects.get(key)
            merged: dict[str, Any] = {}
            for owned in owners.values():
                merged |= owned
            found = _built(merged)
            found |= {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
            changed = before is None or before.get("spec") != found.get("spec")
            generation = (before or {"metadata": {"generation": 0}})["metadata"]["generation"] + changed
            found["metadata"] |= {"name": name, "generation": generation, "uid": f"uid-{plural}-{name}"}
            found["status"] = (before or {}).get("status", {})
            self._store(plural, name, found, "MODIFIED" if before else "ADDED")
        threading.Timer(self.controller_seconds, self.reconcile, (plural, name)).start()
        return (200 if before else 201), found

    def create(self, plural: str, manifest: Object, *, dry_run: bool = False) -> tuple[int, Object]:
        """Return HTTP status and answer of a POST."""
        name = manifest["metadata"]["name"]
        if (refusal := self.admit(manifest)) is not None:
            return refusal[0], status_of(*refusal)
        with self.condition:
            if (plural, name) in self.objects:
                return 409, status_of(409, f'{plural} "{name}" already exists')
            uid = f"uid-{plural}-{name}-{self.version}"
            found = {**manifest, "metadata": {**manifest["metadata"], "generation": 1, "uid": uid}, "status": {}}
            if dry_run:
                return 201, found
            self._store(plural, name, found, "ADDED")
        threading.Timer(self.controller_seconds, self.reconcile, (plural, name)).start()
        return 201, found

    def set_status(self, plural: str, name: str, status: Object) -> None:
        self.change(plural, name, status=status)

    def change(self, plural: str, name: str, **parts: Object) -> None:
        """Replace parts of an object, as a controller does."""
        with self.condition:
            if found := self.objects.get((plural, name)):
                self._store(plural, name, {**found, **parts}, "MODIFIED")

    def delete(self, plural: str, name: str) -> tuple[int, Object]:
        """Return HTTP status and answer of a DELETE."""
        with self.condition:
            if (plural, name) not in self.objects:
                return 404, status_of(404, f'{plural} "{name}" not found')
            found = self.objects[plural, name]
            self._store(plural, name, found, "DELETED")
            del self.objects[plural, name]
        self.deleted(found)
        return 200, status_of(200, "deleted")

    def reconcile(self, plural: str, name: str) -> None:
        """Let the controller set the object's status."""
        found = self.objects.get((plural, name))
        if found is not None and (status := self.controller(found)) is not None:
            with self.condition:
                self._store(plural, name, {**found, "status": status}, "MODIFIED")

    def _store(self, plural: str, name: str, found: Object, kind: str) -> None:
        version = self.version + 1
        found = {**found, "metadata": {**found["metadata"], "resourceVersion": str(version)}}
        self.objects[plural, name] = found
        self.changes.append((version, kind, plural, found))
        self.condition.notify_all()


def _built(merged: dict[str, Any]) -> Object:
    found: Object = {"metadata": {}, "spec": {}}
    for path, value in merged.items():
        at, keys = found, _keys(path)
        for key in keys[:-1]:
            at = at.setdefault(key, {})
        at[keys[-1]] = value
    return found


def _keys(path: str) -> list[str]:
    """Split a path; keys of labels and annotations hold dots."""
    for prefix in (".metadata.labels.", ".metadata.annotations.", ".spec.selector.matchLabels."):
        if path.startswith(prefix):
            return [*prefix.strip(".").split("."), path.removeprefix(prefix)]
    found, rest = path.partition(".spec.template.metadata.")[::2]
    if not found and rest:
        kind, _, key = rest.partition(".")
        return ["spec", "template", "metadata", kind, key]
    return path.strip(".").split(".", 2) if path.startswith(".spec.selector.") else path.strip(".").split(".")


def status_of(code: int, message: str, **details: Any) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message,
            "details": details}


def ready_deployment(found: Object) -> Object:
    """A controller under which a Deployment is ready at once."""
    replicas = found["spec"].get("replicas", 1)
    return {
        "observedGeneration": found["metadata"]["generation"], "replicas": replicas, "updatedReplicas": replicas,
        "availableReplicas": replicas,
    }


@contextmanager
def kube_api(folder: Path, monkeypatch: Any) -> Iterator[KubeApi]:
    """Start the stand-in and make it the cluster of the kubeconfig."""
    api = KubeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": api.url}}],
        "users": [{"name": "u", "user": {"token": api.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
    }))
    monkeypatch.setenv("KUBECONFIG", str(path))
    # the client reads the variable when it is imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


def _handler(api: KubeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.answer("GET")

        def do_PATCH(self) -> None:
            self.answer("PATCH")

        def do_POST(self) -> None:
            self.answer("POST")

        def do_DELETE(self) -> None:
            self.answer("DELETE")

        def send(self, code: int, body: Object) -> None:
            self.send_data(code, json.dumps(body).encode())

        def send_data(self, code: int, data: bytes, kind: str = "application/json") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def send_text(self, text: str, lines: int) -> None:
            self.send_data(200, "".join(text.splitlines(keepends=True)[-lines:]).encode(), "text/plain")

        def answer(self, method: str) -> None:
            split = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(split.query).items()}
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = self.headers.get("Content-Type", "")
            proxied = "/proxy/" in split.path
            body = json.loads(text) if text and not proxied else None
            watching = query.get("watch") == "true"
            verb = "WATCH" if watching else method
            api.requests.append(Request(verb, split.path, query, body, content))
            if self.headers.get("Authorization") != f"Bearer {api.token}":
                return self.send(401, status_of(401, "Unauthorized"))
            fault = api.take_fault(verb, split.path)
            if fault is not None and fault.action == "drop":
                self.close_connection = True
                self.connection.close()
                return None
            if fault is not None and fault.action == "status":
                return self.send(fault.code, status_of(fault.code, fault.message))
            if fault is not None and fault.action == "delay":
                time.sleep(fault.seconds)
            if proxied:
                return self.send_data(*api.contents.proxy(method, self.path, content, text))
            path = split.path.split("/")
            log = path[-1] == "log"
            plural = "pods/log" if log else path[-1] if method in ("GET", "POST") else path[-2]
            name = path[-2] if log else path[-1]
            listing = "watch" if watching else "get" if log else "list"
            rbac = {"GET": listing, "PATCH": "patch", "POST": "create", "DELETE": "delete"}[method]
            looking = method == "GET" and plural != "pods" and not query and not log
            if looking or plural.endswith("subjectaccessreviews"):
                return self.send(*api.contents.answer(method, split.path, body))
            if plural in api.missing:
                return self.send(404, status_of(404, "the server could not find the requested resource"))
            if (rbac, plural) in api.forbidden:
                group = split.path.split("/")[2] if split.path.startswith("/apis/") else ""
                return self.send(403, status_of(403, (
                    f'{plural} is forbidden: User "{USER}" cannot {rbac} resource "{plural}" in API group "{group}" '
                    'in the namespace "serving"'
                )))
            if method == "PATCH":
                assert content == "application/apply-patch+yaml", content
                assert body is not None
                force = query["force"] == "true"
                return self.send(*api.apply(plural, name, query["fieldManager"], body, force=force))
            if method == "DELETE":
                return self.send(*api.delete(plural, name))
            if method == "POST" and plural != "events":
                assert body is not None
                return self.send(*api.create(plural, body, dry_run=query.get("dryRun") == "All"))
            if method == "POST":
                assert body is not None
                api.events.append(body)
                return self.send(201, body)
            if log:
                return self.send_text(api.logs(name), int(query["tailLines"]))
            if plural == "pods":
                items = chosen(list(api.pods), query.get("labelSelector", ""))
                return self.send(200, {"items": items, "metadata": {"resourceVersion": str(api.version)}})
            if "labelSelector" in query:
                with api.condition:
                    items = [found for (of, _), found in api.objects.items() if of == plural]
                items = chosen(items, query["labelSelector"])
                return self.send(200, {"items": items, "metadata": {"resourceVersion": str(api.version)}})
            wanted = query["fieldSelector"].removeprefix("metadata.name=")
            if watching:
                return self.watch(plural, wanted, query, fault)
            with api.condition:
                found = api.objects.get((plural, wanted))
                listed = {"items": [found] if found else [], "metadata": {"resourceVersion": str(api.version)}}
            return self.send(200, listed)

        def watch(self, plural: str, name: str, query: dict[str, str], fault: Fault | None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if fault is not None and fault.action == "gone":
                self.chunk(json.dumps({"type": "ERROR", "object": status_of(410, "too old resource version")}) + "\n")
                return self.chunk("")
            if fault is not None and fault.action == "half":
                self.chunk('{"type": "MODIFIED", "obj')
                self.close_connection = True
                return self.connection.close()
            at, end = int(query["resourceVersion"]), time.monotonic() + float(query["timeoutSeconds"])
            while time.monotonic() < end:
                with api.condition:
                    new = [change for change in api.changes if change[0] > at]
                    if not new:
                        api.condition.wait(0.2)
                for version, kind, of, found in new:
                    at = version
                    if of == plural and found["metadata"]["name"] == name:
                        try:
                            self.chunk(json.dumps({"type": kind, "object": found}) + "\n")
                        except OSError:
                            self.close_connection = True
                            return None
            with suppress(OSError):  # whoever watched is gone
                self.chunk("")
            return None

        def chunk(self, text: str) -> None:
            data = text.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    return Handler
