"""The manifest of a TrainJob (``trainer.kubeflow.org/v1alpha1``, Kubeflow Trainer 2.2 and later).

A pure function of the ``cluster`` section. Image, command, environment and resources are in ``spec.trainer``;
everything else is a patch of the training runtime's job and container, which are both called ``node``.
"""

from __future__ import annotations

from typing import Any

from thinksafe.config.cluster import MODEL_CACHE, ClusterSettings
from thinksafe.config.cluster_stages import NodeAffinityTerm, StageSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.config.pods import (
    CERTIFICATES,
    TRAIN_JOB_VARIABLE,
    environment,
    pod_labels,
    secret_variables,
    toleration,
)
from thinksafe.config.shape import Shape
from thinksafe.kube.client import MANAGER, Object

API, NODE = "trainer.kubeflow.org/v1alpha1", "node"
QUEUE = "kueue.x-k8s.io/queue-name"
ADAPTER = "thinksafe/adapter"
"""Annotation: key of the adapter that the job trains."""
PATCHES = "thinksafe/train"
"""Manager of our patch of the runtime; Trainer wants a domain and a path."""
OURS = {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/component": "train"}
"""Labels of all jobs created here."""


def job_name(key: str) -> str:
    """Return the name of an adapter's TrainJob; names of its pods follow from it and stay below 63 characters."""
    return f"thinksafe-{key[:24]}"


def train_job(cluster: ClusterSettings, key: str, address: str, shape: Shape) -> Object:
    """Return the manifest.

    Args:
        cluster: The settings.
        key: Key of the adapter.
        address: Address of the training, the argument of :mod:`thinksafe.training.node`.
        shape: Nodes that train together, and processes of each.
    """
    settings, job = cluster.stage("train"), cluster.train_job
    patch = {
        "name": NODE,
        "template": {"spec": {"template": {"metadata": _metadata(cluster, settings), "spec": _pod(cluster, settings)}}},
    }
    return {
        "apiVersion": API, "kind": "TrainJob",
        "metadata": {
            "name": job_name(key), "namespace": cluster.namespace,
            "labels": {
                **cluster.labels, "app.kubernetes.io/name": "thinksafe", **OURS,
                **({QUEUE: job.queue} if job.queue else {}),
            },
            "annotations": {ADAPTER: key},
        },
        "spec": {
            "runtimeRef": {"apiGroup": API.partition("/")[0], "kind": job.runtime.kind, "name": job.runtime.name},
            "trainer": {
                "image": cluster.image("train"),
                "command": ["python", "-m", "thinksafe.training.node"], "args": [address],
                "env": _environment(cluster), "numNodes": shape.nodes, "numProcPerNode": shape.processes,
                "resourcesPerNode": _resources(settings),
            },
            "activeDeadlineSeconds": seconds(job.deadline),
            "runtimePatches": [
                {
                    "manager": PATCHES,
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [patch]}}},
                }
            ],
        },
    }


def _metadata(cluster: ClusterSettings, settings: StageSettings) -> Object:
    found: Object = {"labels": pod_labels(cluster, settings, "train")}
    if cluster.annotations:
        found["annotations"] = dict(cluster.annotations)
    return found


def _environment(cluster: ClusterSettings) -> list[Object]:
    plain = {name: value for name, value in environment(cluster, "train").items() if name != TRAIN_JOB_VARIABLE}
    found: list[Object] = [{"name": name, "value": value} for name, value in plain.items()]
    for secret, key, name in secret_variables(cluster, "train"):
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    for source in cluster.config_maps:
        for key, name in source.keys.items():
            found.append({"name": name, "valueFrom": {"configMapKeyRef": {"name": source.name, "key": key}}})
    return list({variable["name"]: variable for variable in found}.values())


def _resources(settings: StageSettings) -> Object:
    found: Object = {}
    for kind, amounts in (("requests", settings.requests), ("limits", settings.limits)):
        if amounts is not None and (given := amounts.model_dump(mode="json", exclude_none=True)):
            found[kind] = given
    if settings.gpu is not None and settings.gpu.count:
        for kind in ("requests", "limits"):
            found.setdefault(kind, {})[settings.gpu.type] = str(settings.gpu.count)
    return found


def _pod(cluster: ClusterSettings, settings: StageSettings) -> Object:
    volumes, mounts = _volumes(cluster, settings)
    user = cluster.security_context
    node: Object = {
        "name": NODE,
        "securityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        },
        "volumeMounts": mounts,
    }
    found: Object = {
        "serviceAccountName": cluster.train_job.service_account or cluster.service_account,
        "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
        "nodeSelector": dict(settings.node_selector or {}),
        "tolerations": [toleration(taint) for taint in settings.tolerations or ()],
        "affinity": _affinity(settings.affinity or ()),
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": user.run_as_user, "runAsGroup": user.run_as_group,
            "fsGroup": user.run_as_group, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
        "containers": [{name: value for name, value in node.items() if value}],
    }
    return {name: value for name, value in found.items() if value}


def _volumes(cluster: ClusterSettings, settings: StageSettings) -> tuple[list[Object], list[Object]]:
    volumes: list[Object] = []
    mounts: list[Object] = []

    def mount(name: str, path: str, source: dict[str, Any]) -> None:
        volumes.append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path})

    mount("tmp", "/tmp", {"emptyDir": {}})  # noqa: S108 - all that the images write is below it
    if settings.shared_memory is not None:
        medium = {"medium": "Memory", "sizeLimit": settings.shared_memory}
        mount("shared-memory", "/dev/shm", {"emptyDir": medium})  # noqa: S108 - that is what libraries use
    if cluster.certificates.config_map:
        mount("certificates", CERTIFICATES, {"configMap": {"name": cluster.certificates.config_map}})
    cache = cluster.model_cache
    if cache.kind == "claim":
        mount("model-cache", MODEL_CACHE, {"persistentVolumeClaim": {"claimName": cache.claim}})
    elif cache.kind == "ephemeral":
        spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": cache.size}}}
        if cache.storage_class:
            spec["storageClassName"] = cache.storage_class
        mount("model-cache", MODEL_CACHE, {"ephemeral": {"volumeClaimTemplate": {"spec": spec}}})
    return volumes, mounts


def _affinity(terms: tuple[NodeAffinityTerm, ...]) -> Object:
    found: Object = {}
    for term in terms:
        expressions = [
            {name: value for name, value in one.model_dump(mode="json").items() if name != "values" or value}
            for one in term.expressions
        ]
        if term.weight:
            found.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(
                {"weight": term.weight, "preference": {"matchExpressions": expressions}}
            )
        else:
            required = found.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": []})
            required["nodeSelectorTerms"].append({"matchExpressions": expressions})
    return {"nodeAffinity": found} if found else {}
