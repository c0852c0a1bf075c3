"""What the pods of a stage's job are made from: metadata, environment, resources, volumes, placement.

Pure functions of the ``cluster`` section. The manifests of a TrainJob and of an Indexed Job put the parts together.
"""

from __future__ import annotations

import os
from typing import Any

from thinksafe.config.cluster import MODEL_CACHE, ClusterSettings
from thinksafe.config.cluster_stages import NodeAffinityTerm, StageSettings
from thinksafe.config.pods import (
    CERTIFICATES,
    POD_NAME_VARIABLE,
    POD_UID_VARIABLE,
    environment,
    pod_labels,
    secret_variables,
    toleration,
)
from thinksafe.kube.client import MANAGER, Object

QUEUE = "kueue.x-k8s.io/queue-name"


def job_labels(stage: str) -> dict[str, str]:
    """Return the labels of all jobs that a stage creates, whatever they work on."""
    return {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/component": stage}


def job_metadata(cluster: ClusterSettings, stage: str, name: str, annotations: dict[str, str]) -> Object:
    """Return the metadata of a job. The pod of the task that starts it owns it, and takes it along when deleted."""
    queue = {QUEUE: cluster.jobs.queue} if cluster.jobs.queue else {}
    found: Object = {
        "name": name, "namespace": cluster.namespace,
        "labels": {**cluster.labels, "app.kubernetes.io/name": "thinksafe", **job_labels(stage), **queue},
        "annotations": annotations,
    }
    pod, uid = os.environ.get(POD_NAME_VARIABLE, ""), os.environ.get(POD_UID_VARIABLE, "")
    if pod and uid:
        found["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}]
    return found


def pod_metadata(cluster: ClusterSettings, stage: str) -> Object:
    """Return the metadata of a job's pods."""
    found: Object = {"labels": pod_labels(cluster, cluster.stage(stage), stage)}
    if cluster.annotations:
        found["annotations"] = dict(cluster.annotations)
    return found


def variables(cluster: ClusterSettings, stage: str) -> list[Object]:
    """Return the environment of a job's container, each variable once."""
    found: list[Object] = [{"name": name, "value": value} for name, value in environment(cluster, stage).items()]
    for secret, key, name in secret_variables(cluster, stage):
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    for source in cluster.config_maps:
        for key, name in source.keys.items():
            found.append({"name": name, "valueFrom": {"configMapKeyRef": {"name": source.name, "key": key}}})
    return list({variable["name"]: variable for variable in found}.values())


def resources(settings: StageSettings) -> Object:
    """Return requests and limits, GPUs among them."""
    found: Object = {}
    for kind, amounts in (("requests", settings.requests), ("limits", settings.limits)):
        if amounts is not None and (given := amounts.model_dump(mode="json", exclude_none=True)):
            found[kind] = given
    if settings.gpu is not None and settings.gpu.count:
        for kind in ("requests", "limits"):
            found.setdefault(kind, {})[settings.gpu.type] = str(settings.gpu.count)
    return found


def pod_spec(cluster: ClusterSettings, stage: str, container: Object) -> Object:
    """Return the specification of a job's pods.

    Args:
        cluster: The settings.
        stage: The stage whose work they do.
        container: Their only container, at least its name; volumes and security context are added.
    """
    settings, user = cluster.stage(stage), cluster.security_context
    volumes, mounts = _volumes(cluster, settings)
    whole: Object = {
        **container,
        "securityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        },
        "volumeMounts": mounts,
    }
    found: Object = {
        "serviceAccountName": cluster.jobs.service_account or cluster.service_account,
        "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
        "nodeSelector": dict(settings.node_selector or {}),
        "tolerations": [toleration(taint) for taint in settings.tolerations or ()],
        "affinity": _affinity(settings.affinity or ()),
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": user.run_as_user, "runAsGroup": user.run_as_group,
            "fsGroup": user.run_as_group, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
        "containers": [{name: value for name, value in whole.items() if value}],
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
