"""A stand-in for the Kubernetes API over real HTTP: objects, server-side apply, watches, and faults on demand.

What is only looked at (nodes, rights ...) is in :mod:`kube_contents`, the HTTP side in :mod:`kube_http`. There is one
namespace: objects are found by kind and name.

kmock was looked at: it knows no server-side apply (field managers and their conflicts are the point here), and its
server lives in the test's own event loop, which a blocking client would stop. What this one shows is that the rollout
keeps its side of the protocol; whether a real API server agrees only a real one can tell.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kube_contents import KubeContents

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


Path = tuple[str, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield path and value of each field that one manager can own; a list is one field."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path, value


@dataclass
class KubeApi:
    """The server's state."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    owners: dict[tuple[str, str], dict[str, dict[Path, Any]]] = field(default_factory=dict)
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
    evict: Callable[[str], bool] = lambda name: False
    """Takes away a pod that is no object of its own; returns whether there was one."""
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
        if (refusal := self.admit(manifest)) is not None:
            return refusal[0], status_of(*refusal)
        with self.condition:
            key = (plural, name)
            owners = self.owners.setdefault(key, {})
            wanted = dict(leaves(_fields(manifest)))
            causes = [
                {
                    "reason": "FieldManagerConflict", "message": f'conflict with "{other}" using apps/v1',
                    "field": "".join(f".{part}" for part in path),
                }
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
            merged: dict[Path, Any] = {}
            for owned in owners.values():
                merged |= owned
            found = _built(merged)
            found |= {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
            if before is None:
                found["metadata"] |= self._identity(plural, name, manifest)
            else:
                found["metadata"] = {**before["metadata"], **found["metadata"]}
                found["metadata"]["generation"] += before.get("spec") != found.get("spec")
            found["status"] = (before or {}).get("status", {})
            self._store(plural, name, found, "MODIFIED" if before else "ADDED")
        threading.Timer(self.controller_seconds, self.reconcile, (plural, name)).start()
        return (200 if before else 201), self.objects.get(key, found)

    def create(self, plural: str, manifest: Object, *, dry_run: bool = False) -> tuple[int, Object]:
        """Return HTTP status and answer of a POST."""
        name = manifest["metadata"]["name"]
        if (refusal := self.admit(manifest)) is not None:
            return refusal[0], status_of(*refusal)
        with self.condition:
            if (plural, name) in self.objects:
                return 409, status_of(409, f'{plural} "{name}" already exists')
            identity = self._identity(plural, name, manifest)
            found = {**manifest, "metadata": {**manifest["metadata"], **identity}, "status": {}}
            if texts := found.pop("stringData", None):
                coded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
                found["data"] = {**found.get("data", {}), **coded}
            if dry_run:
                return 201, found
            self._store(plural, name, found, "ADDED")
        threading.Timer(self.controller_seconds, self.reconcile, (plural, name)).start()
        return 201, self.objects.get((plural, name), found)

    def replace(self, plural: str, name: str, manifest: Object) -> tuple[int, Object]:
        """Return HTTP status and answer of a PUT, or of a PATCH that is merged by then."""
        with self.condition:
            if (before := self.objects.get((plural, name))) is None:
                return 404, status_of(404, f'{plural} "{name}" not found')
            metadata = {**before["metadata"], **manifest["metadata"]}
            self._store(plural, name, {**manifest, "metadata": metadata}, "MODIFIED")
            return 200, self.objects[plural, name]

    def _identity(self, plural: str, name: str, manifest: Object) -> Object:
        """Return the metadata that a server gives to a new object."""
        kept = {key: value for key, value in manifest["metadata"].items() if key not in ("labels", "annotations")}
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        uid = f"uid-{plural}-{name}-{self.version}"
        return {**kept, "name": name, "generation": 1, "uid": uid, "creationTimestamp": created}

    def set_status(self, plural: str, name: str, status: Object) -> None:
        self.change(plural, name, status=status)

    def change(self, plural: str, name: str, **parts: Object) -> None:
        """Replace parts of an object, as a controller does."""
        with self.condition:
            if found := self.objects.get((plural, name)):
                self._store(plural, name, {**found, **parts}, "MODIFIED")

    def delete(self, plural: str, name: str) -> tuple[int, Object]:
        """Return HTTP status and answer of a DELETE."""
        if plural == "pods" and self.evict(name):
            return 200, {**status_of(200, "deleted"), "status": "Success"}
        with self.condition:
            if (plural, name) not in self.objects:
                return 404, status_of(404, f'{plural} "{name}" not found')
            found = self.objects[plural, name]
            self._store(plural, name, found, "DELETED")
            del self.objects[plural, name]
            self.owners.pop((plural, name), None)
        self.deleted(found)
        self.delete_owned(found["metadata"]["uid"])
        return 200, {**status_of(200, "deleted"), "status": "Success"}

    def delete_owned(self, uid: str) -> None:
        """Delete what belongs to an object that is gone, as Kubernetes' garbage collection does."""
        for plural, name in [
            key for key, found in self.objects.items()
            if any(owner["uid"] == uid for owner in found["metadata"].get("ownerReferences", ()))
        ]:
            self.delete(plural, name)

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


def _built(merged: dict[Path, Any]) -> Object:
    found: Object = {"metadata": {}, "spec": {}}
    for path, value in merged.items():
        at = found
        for key in path[:-1]:
            at = at.setdefault(key, {})
        if value != {} or path[-1] not in at:
            at[path[-1]] = value
    return found


def _fields(manifest: Object) -> Object:
    """Return what of a manifest a manager owns."""
    metadata = {key: manifest["metadata"].get(key, {}) for key in ("labels", "annotations")}
    others = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {"spec": {}, **others, "metadata": metadata}


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


