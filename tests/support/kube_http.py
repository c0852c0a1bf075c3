"""The HTTP side of the stand-in for the Kubernetes API (:mod:`kube_api`): requests, watches, and faults on demand.

It speaks as much as the clients of ours, kubectl and helm need: discovery, objects of the kinds in ``KINDS``, lists by
label or name, server-side apply, watches, logs, and the proxy of services.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kube_api import USER, Fault, KubeApi, Object, Request, status_of
from kube_contents import chosen
from kube_protobuf import CONTENT, secret

KINDS: dict[str, dict[str, str]] = {
    "v1": {
        "pods": "Pod", "secrets": "Secret", "configmaps": "ConfigMap", "serviceaccounts": "ServiceAccount",
        "services": "Service", "events": "Event", "persistentvolumeclaims": "PersistentVolumeClaim",
        "resourcequotas": "ResourceQuota", "limitranges": "LimitRange",
    },
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
}
"""Plural and kind of what the cluster has, by API version; all of them belong to a namespace."""
MERGES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


def discovery(path: str) -> Object | None:
    """Return what the API says about itself; None where the path asks for something else."""
    if path == "/version":
        return {"major": "1", "minor": "33", "gitVersion": "v1.33.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = []
        for version in KINDS:
            if "/" in version:
                one = {"groupVersion": version, "version": version.split("/")[1]}
                groups.append({"name": version.split("/")[0], "versions": [one], "preferredVersion": one})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in KINDS:
        return None
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": verbs}
        for plural, kind in KINDS[version].items()
    ]}


def merged(before: Any, patch: Any) -> Any:
    """Return what a merge patch (RFC 7386) makes of a value."""
    if not isinstance(patch, dict) or not isinstance(before, dict):
        return patch
    made = {key: value for key, value in before.items() if patch.get(key, value) is not None}
    return {**made, **{key: merged(made.get(key, {}), value) for key, value in patch.items() if value is not None}}


@contextmanager
def kube_api(folder: Path, monkeypatch: Any, token: str = "secret-token") -> Iterator[KubeApi]:
    """Start the stand-in and make it the cluster of the kubeconfig.

    kubectl and helm, which send tokens over TLS only, need an empty ``token``: anybody may do everything then.
    """
    api = KubeApi(token=token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": api.url}}],
        "users": [{"name": "u", "user": {"token": api.token} if token else {}}],
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

        def do_PUT(self) -> None:
            self.answer("PUT")

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

        def send_text(self, text: str, lines: int | None) -> None:
            kept = text.splitlines(keepends=True)
            self.send_data(200, "".join(kept[-lines:] if lines else kept).encode(), "text/plain")

        def answer(self, method: str) -> None:
            split = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(split.query).items()}
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = self.headers.get("Content-Type", "")
            proxied = "/proxy/" in split.path
            body = None
            if text and not proxied and method != "DELETE":
                body = secret(text) if content == CONTENT else yaml.safe_load(text)
            watching = query.get("watch") in ("true", "1")
            verb = "WATCH" if watching else method
            api.requests.append(Request(verb, split.path, query, body, content))
            if api.token and self.headers.get("Authorization") != f"Bearer {api.token}":
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
            if split.path == "/openapi/v2":  # empty, so that clients check nothing themselves
                return self.send_data(200, b"", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
            if method == "GET" and (said := discovery(split.path)) is not None:
                return self.send(200, said)
            return self.answer_object(method, split.path, query, body, content, fault)

        def answer_object(
            self, method: str, where: str, query: dict[str, str], body: Any, content: str, fault: Fault | None
        ) -> None:
            path, watching = where.split("/"), query.get("watch") in ("true", "1")
            log = path[-1] == "log"
            single = method == "GET" and any(path[-2] in of for of in KINDS.values())
            plural = "pods/log" if log else path[-1] if method in ("GET", "POST") and not single else path[-2]
            name = path[-2] if log else path[-1]
            listing = "watch" if watching else "get" if log or single else "list"
            rbac = {"GET": listing, "PATCH": "patch", "PUT": "update", "POST": "create", "DELETE": "delete"}[method]
            if single and (plural, name) in api.objects:
                return self.send(200, api.objects[plural, name])
            if single and plural == "pods" and (found := [one for one in api.pods if one["metadata"]["name"] == name]):
                return self.send(200, {"apiVersion": "v1", "kind": "Pod", **found[0]})
            looking = method == "GET" and (single or (plural not in ("pods", "events") and not query and not log))
            if looking or plural.endswith(("subjectaccessreviews", "selfsubjectreviews")):
                code, found = api.contents.answer(method, where, body)
                if looking and not single and where not in api.contents.objects and code in (200, 404) and any(
                    of == plural for of, _ in api.objects
                ):
                    return self.send(200, self.listed(plural, ""))
                return self.send(code, found)
            if plural in api.missing:
                return self.send(404, status_of(404, "the server could not find the requested resource"))
            if (rbac, plural) in api.forbidden:
                group = where.split("/")[2] if where.startswith("/apis/") else ""
                return self.send(403, status_of(403, (
                    f'{plural} is forbidden: User "{USER}" cannot {rbac} resource "{plural}" in API group "{group}" '
                    'in the namespace "serving"'
                )))
            if method == "PATCH" and content in MERGES:
                before = api.objects.get((plural, name), {})
                return self.send(*api.replace(plural, name, merged(before, body)))
            if method == "PATCH":
                assert content == "application/apply-patch+yaml", content
                assert body is not None
                force = query.get("force") == "true"
                return self.send(*api.apply(plural, name, query["fieldManager"], body, force=force))
            if method == "PUT":
                return self.send(*api.replace(plural, name, body))
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
                return self.send_text(api.logs(name), int(query.get("tailLines", 0)) or None)
            if query.get("sendInitialEvents") == "true":  # clients then list and watch
                return self.send(422, status_of(422, "sendInitialEvents: Forbidden: not supported"))
            if watching:
                return self.watch(plural, query, fault)
            return self.send(200, self.listed(plural, query.get("labelSelector", ""), query.get("fieldSelector", "")))

        def listed(self, plural: str, labels: str, fields: str = "") -> Object:
            version, kind = next(
                ((version, of[plural]) for version, of in KINDS.items() if plural in of), ("", "")
            )
            with api.condition:
                items = [found for (of, _), found in api.objects.items() if of == plural]
                at = str(api.version)
            items = [one for one in items if labelled(one, labels)]
            if plural == "pods":
                items += chosen(list(api.pods), labels)
            elif plural == "events":
                items = list(api.events)
            if fields.startswith("metadata.name="):
                items = [one for one in items if f"metadata.name={one['metadata']['name']}" == fields]
            named = {"apiVersion": version, "kind": f"{kind}List"} if kind else {}
            return {**named, "items": items, "metadata": {"resourceVersion": at}}

        def watch(self, plural: str, query: dict[str, str], fault: Fault | None) -> None:
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
            wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
            at = int(query.get("resourceVersion") or api.version)
            end = time.monotonic() + float(query.get("timeoutSeconds", 300))
            while time.monotonic() < end:
                with api.condition:
                    new = [change for change in api.changes if change[0] > at]
                    if not new:
                        api.condition.wait(0.2)
                for version, kind, of, found in new:
                    at = version
                    if of == plural and wanted in ("", found["metadata"]["name"]):
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


def labelled(found: Object, selector: str) -> bool:
    """Return whether an object has all labels of a selector."""
    labels = found["metadata"].get("labels", {})
    wanted = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
    return all(labels.get(key) == value for key, value in wanted.items())
