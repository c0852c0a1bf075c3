"""What there is in a Kubernetes cluster beside the objects that are applied and watched: looked at by the doctor.

Part of the stand-in for its API (:mod:`kube_api`). The proxy of services hands requests on to another server, as the
API server does to a service's pods: it cleans the path and keeps the caller's token to itself.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

NAMESPACED = "/api/v1/namespaces/{namespace}/{kind}/{name}"

EMPTY = ("/resourcequotas", "/limitranges", "/cronjobs")
"""Ends of paths of lists that are empty unless something was put there."""


def chosen(items: list[dict[str, Any]], selector: str) -> list[dict[str, Any]]:
    """Return the objects that a label selector chooses; one without any labels, as tests make pods, is chosen."""
    wanted = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
    return [
        one for one in items
        if not (labels := one.get("metadata", {}).get("labels"))
        or all(labels.get(key) == value for key, value in wanted.items())
    ]


@dataclass
class KubeContents:
    """What there is, by path, and who may do what."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    """Ends of paths that are answered with 403."""
    denied: set[str] = field(default_factory=set)
    """``verb resource`` that a SelfSubjectAccessReview denies."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Attributes of all reviews."""
    user: Any = "system:serviceaccount:serving:rollout"
    """Who a SelfSubjectReview says that the caller is."""
    services: dict[str, str] = field(default_factory=dict)
    """Address behind each service's proxy, by ``namespace/name``."""
    proxied: list[str] = field(default_factory=list)
    """Method and path of what went through the proxy."""
    delay: float = 0.0

    def put(self, kind: str, name: str, *, namespace: str = "thinksafe", **value: Any) -> None:
        path = NAMESPACED.format(namespace=namespace, kind=kind, name=name)
        self.objects[path] = {"metadata": {"name": name, "namespace": namespace}, **value}

    def secret(self, name: str, namespace: str = "thinksafe", **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.put("secrets", name, namespace=namespace, data=encoded, type="Opaque")

    def pull_secret(self, name: str, *registries: str) -> None:
        logins = json.dumps({"auths": {registry: {"auth": "eA=="} for registry in registries}})
        data = {".dockerconfigjson": base64.b64encode(logins.encode()).decode()}
        self.put("secrets", name, data=data, type="kubernetes.io/dockerconfigjson")

    def node(
        self, name: str, *, labels: dict[str, str] | None = None, gpus: int = 0, taints: Any = None,
        resource: str = "nvidia.com/gpu", images: Any = None, **spec: Any,
    ) -> None:
        nodes = self.objects.setdefault("/api/v1/nodes", {"items": []})
        nodes["items"].append(
            {
                "metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": taints, **spec},
                "status": {
                    "allocatable": {"cpu": "8", **({resource: str(gpus)} if gpus else {})}, "images": images or [],
                },
            }
        )

    def listed(self, kind: str, *specs: dict[str, Any], namespace: str = "thinksafe") -> None:
        """Put a list of objects of a kind, by their specs."""
        items = [{"metadata": {"name": f"{kind}-{number}"}, "spec": spec} for number, spec in enumerate(specs)]
        self.objects[f"/api/v1/namespaces/{namespace}/{kind}"] = {"items": items}

    def storage_class(self, name: str, *, default: bool = False) -> None:
        classes = self.objects.setdefault("/apis/storage.k8s.io/v1/storageclasses", {"items": []})
        notes = {"storageclass.kubernetes.io/is-default-class": str(default).lower()}
        classes["items"].append({"metadata": {"name": name, "annotations": notes}, "provisioner": "test"})

    def trainer(self, *, runtime: str = "torch-distributed", policy: str = "torch", job: str = "node") -> None:
        """Install Kubeflow Trainer with a runtime."""
        root = "/apis/trainer.kubeflow.org/v1alpha1"
        kinds = ("trainjobs", "clustertrainingruntimes", "trainingruntimes")
        self.objects[root] = {
            "kind": "APIResourceList", "groupVersion": "trainer.kubeflow.org/v1alpha1",
            "resources": [
                {"name": kind, "kind": kind, "singularName": "", "namespaced": True, "verbs": ["get"]} for kind in kinds
            ],
        }
        pod = {"spec": {"template": {"spec": {"containers": [{"name": "node"}]}}}}
        self.objects[f"{root}/clustertrainingruntimes/{runtime}"] = {
            "metadata": {"name": runtime},
            "spec": {
                "mlPolicy": {policy: {}}, "template": {"spec": {"replicatedJobs": [{"name": job, "template": pod}]}},
            },
        }

    def proxy(self, method: str, target: str, kind: str, body: bytes) -> tuple[int, bytes]:
        """Return status and text of a request to a service, ``NAMESPACE/services/SCHEME:NAME:PORT/proxy/PATH``."""
        where, _, query = target.partition("?")
        namespace, _, service, _, *rest = where.removeprefix("/api/v1/namespaces/").split("/")
        name = service.split(":")[0]
        if any(where.endswith(end) or f"{namespace}/{name}" == end for end in self.forbidden):
            return 403, json.dumps({"kind": "Status", "reason": "Forbidden"}).encode()
        if f"{namespace}/{name}" not in self.services:
            return 503, json.dumps({"kind": "Status", "reason": "ServiceUnavailable"}).encode()
        path = "/" + "/".join(part for part in rest if part)
        self.proxied.append(f"{method} {path}")
        address = urlsplit(self.services[f"{namespace}/{name}"])
        connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(
                method, path + (f"?{query}" if query else ""), body, {"Content-Type": kind} if kind else {}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        time.sleep(self.delay)
        if any(path.endswith(end) for end in self.forbidden):
            return 403, {"kind": "Status", "reason": "Forbidden"}
        if method == "POST" and path.endswith("selfsubjectreviews"):
            return 201, {**body, "status": {"userInfo": {"username": self.user, "groups": ["system:authenticated"]}}}
        if method == "POST" and path.endswith("subjectaccessreviews"):
            wanted = body["spec"]["resourceAttributes"]
            self.asked.append({**wanted, **{key: body["spec"][key] for key in ("user",) if key in body["spec"]}})
            resource = "/".join(filter(None, (wanted["resource"], wanted.get("subresource"))))
            return 201, {**body, "status": {"allowed": f"{wanted['verb']} {resource}" not in self.denied}}
        if path in self.objects:
            return 200, self.objects[path]
        if path.endswith(EMPTY):
            return 200, {"items": []}
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
