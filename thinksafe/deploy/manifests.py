"""Manifests of a rollout: pure functions from settings and target to Kubernetes objects.

Pods satisfy PodSecurity ``restricted``: no root, no capabilities, read-only root file system, no service account token.
They contain exactly the fields that the rollout owns; everything else is left to defaults and other field managers.
"""

from __future__ import annotations

import json
from typing import Any

from thinksafe.config.deploy import DeploySettings
from thinksafe.config.pods import s3_variables, toleration
from thinksafe.deploy.target import Target
from thinksafe.models.references import FOLDERS

Manifest = dict[str, Any]

PORT = 8000
GENERATION, RUN = "thinksafe/generation", "thinksafe/run"
"""Annotations of the served object."""
STOP = "serving.kserve.io/stop"
CACHE = "/cache"
_CERTIFICATE = "/var/run/kserve/tls"
"""Where KServe's template, which is merged with the pod, mounts certificate and key."""
KINDS = {
    "deployment": "Deployment", "inference-service": "InferenceService",
    "llm-inference-service": "LLMInferenceService",
}
"""Kind of the object to wait for, by ``deploy.kind``."""
_MAIN = {"deployment": "vllm", "inference-service": "kserve-container", "llm-inference-service": "main"}
"""Name of the serving container, which KServe prescribes."""


def manifests(settings: DeploySettings, target: Target, *, withdrawn: bool = False) -> list[Manifest]:
    """Return the objects of a rollout in the order in which to apply them; the last one is the one to wait for.

    Args:
        settings: Where and how.
        target: What.
        withdrawn: Serve nothing: no pods, or KServe's stop annotation.
    """
    if settings.kind == "deployment":
        return [_service(settings), _deployment(settings, target, withdrawn=withdrawn)]
    make = _inference_service if settings.kind == "inference-service" else _llm_inference_service
    manifest = make(settings, target)
    manifest["metadata"]["annotations"][STOP] = "true" if withdrawn else "false"
    return [manifest]


def selector(settings: DeploySettings) -> dict[str, str]:
    """Return the labels by which a Deployment and a Service find their pods."""
    return {"app.kubernetes.io/name": settings.name, "app.kubernetes.io/component": "serving"}


def pod_selector(settings: DeploySettings) -> dict[str, str]:
    """Return the labels by which the pods are found, whichever controller creates them."""
    if settings.kind == "inference-service":
        return {"serving.kserve.io/inferenceservice": settings.name}
    return selector(settings) if settings.kind == "deployment" else {"app.kubernetes.io/name": settings.name}


def digest_annotation(target: Target) -> dict[str, str]:
    """Return the annotation of the served object and its pods that says what is served."""
    return {f"thinksafe/{target.noun}-digest": target.digest}


def _labels(settings: DeploySettings) -> dict[str, str]:
    own = {"app.kubernetes.io/part-of": "thinksafe", "app.kubernetes.io/managed-by": "thinksafe"}
    return {**settings.labels, **own, **selector(settings)}


def _metadata(settings: DeploySettings, target: Target | None) -> Manifest:
    metadata: Manifest = {
        "name": settings.name, "namespace": settings.namespace, "labels": _labels(settings),
    }
    if target is not None:
        metadata["annotations"] = {
            GENERATION: str(target.generation), RUN: target.run_id, **digest_annotation(target),
        }
    return metadata


def _service(settings: DeploySettings) -> Manifest:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": _metadata(settings, None),
        "spec": {
            "selector": selector(settings),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _deployment(settings: DeploySettings, target: Target, *, withdrawn: bool) -> Manifest:
    surge = {"maxSurge": 1, "maxUnavailable": 0} if settings.surge else {"maxSurge": 0, "maxUnavailable": 1}
    replicas = 0 if withdrawn else settings.replicas
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(settings, target),
        "spec": {
            **({"replicas": replicas} if replicas is not None else {}),
            "selector": {"matchLabels": selector(settings)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": surge},
            "progressDeadlineSeconds": settings.readiness_seconds,
            "template": {
                "metadata": {"labels": _labels(settings), "annotations": digest_annotation(target)},
                "spec": pod(settings, target),
            },
        },
    }


def _inference_service(settings: DeploySettings, target: Target) -> Manifest:
    scale = {"minReplicas": settings.replicas, "maxReplicas": settings.replicas} if settings.replicas else {}
    metadata = _metadata(settings, target)
    # KServe calls it Standard since 0.16 and still accepts the old name
    metadata["annotations"]["serving.kserve.io/deploymentMode"] = "RawDeployment"
    return {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata,
        "spec": {
            "predictor": {
                **scale, "labels": _labels(settings), "annotations": digest_annotation(target), **pod(settings, target),
            }
        },
    }


def _llm_inference_service(settings: DeploySettings, target: Target) -> Manifest:
    return {
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LLMInferenceService",
        "metadata": _metadata(settings, target),
        "spec": {
            # the name in requests; the init container fetches adapter or weights and checks their digest
            "model": {"uri": _uri(settings, target), "name": settings.name},
            "storageInitializer": {"enabled": False},
            **({"replicas": settings.replicas} if settings.replicas else {}),
            "router": {"route": {}, "gateway": {}},
            "template": pod(settings, target),
        },
    }


def _uri(settings: DeploySettings, target: Target) -> str:
    """Return the address of the weights, the student's or those in its place, in KServe's terms."""
    if target.parameters == "full":
        return target.place
    below = target.model.removeprefix(f"{CACHE}/")
    return f"pvc://{settings.cache_claim}/{below}" if below != target.model else f"hf://{target.model}"


def pod(settings: DeploySettings, target: Target) -> Manifest:
    """Return the pod: an init container that fetches the adapter or all weights, and vLLM."""
    # no less than before for an adapter; weights with a tenth to spare
    room = max(4, -(-target.size * 11 // (10 * 2**30)))
    volumes: list[Manifest] = [
        {"name": FOLDERS[target.parameters], "emptyDir": {"sizeLimit": f"{room}Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": settings.temporary}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
    ]
    if settings.cache_claim:
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": settings.cache_claim}})
    found: Manifest = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": settings.run_as, "runAsGroup": settings.run_as,
            "fsGroup": settings.run_as, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_fetching(settings, target)],
        "containers": [_serving(settings, target)],
        "volumes": volumes,
    }
    if settings.service_account:
        found["serviceAccountName"] = settings.service_account
    if settings.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if settings.node_selector:
        found["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        found["tolerations"] = [toleration(taint) for taint in settings.tolerations]
    return found


_CONFINED: Manifest = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}


def _fetching(settings: DeploySettings, target: Target) -> Manifest:
    environment = [_from_secret(variable, secret, key) for secret, key, variable in s3_variables(settings.s3)]
    environment += _values(AWS_ENDPOINT_URL=settings.s3.endpoint, AWS_REGION=settings.s3.region)
    signed = ["--signed-as", target.signed_as, "--sign", target.sign] if target.sign else []
    return {
        "name": "fetch", "image": settings.fetch_image, "command": ["thinksafe", "fetch-trained"],
        "args": ["--place", target.place, "--digest", target.digest, "--out", target.path, *signed],
        "env": environment,
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"},
        },
        "volumeMounts": [_mount(target), {"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": _CONFINED,
    }


def _mount(target: Target) -> Manifest:
    name = FOLDERS[target.parameters]
    return {"name": name, "mountPath": f"/{name}"}


def _serving(settings: DeploySettings, target: Target) -> Manifest:
    cached = bool(settings.cache_claim)
    environment = _values(
        # torch asks for the user's name, and the image has none for this user id
        HOME="/tmp", USER="thinksafe", HF_HOME=f"{CACHE if cached else '/tmp'}/huggingface",
        HF_ENDPOINT=settings.hub.endpoint, VLLM_NO_USAGE_STATS="1",
    )
    if settings.hub.secret:
        environment.append(_from_secret("HF_TOKEN", settings.hub.secret, settings.hub.secret_key))
    mounts = [
        {**_mount(target), "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    if cached:
        mounts.append({"name": "cache", "mountPath": CACHE})
    cores = {"cpu": settings.cpu_limit} if settings.cpu_limit else {}
    gpus = {settings.gpu_resource: str(settings.gpus)} if settings.gpus else {}
    scheme = "HTTPS" if settings.kserve_tls else "HTTP"
    probe = {"httpGet": {"path": "/health", "port": "http", "scheme": scheme}, "timeoutSeconds": 5}
    return {
        "name": _MAIN[settings.kind], "image": settings.image, "command": ["vllm", "serve"],
        "args": arguments(settings, target), "env": environment,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": settings.cpu, "memory": settings.memory, **gpus},
            "limits": {**cores, "memory": settings.memory, **gpus},
        },
        "volumeMounts": mounts,
        # weights are loaded before the port opens, which may take until the deadline
        "startupProbe": {**probe, "periodSeconds": 10, "failureThreshold": -(-settings.readiness_seconds // 10)},
        "readinessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 20, "failureThreshold": 6},
        "securityContext": _CONFINED,
    }


def arguments(settings: DeploySettings, target: Target) -> list[str]:
    """Return the arguments of ``vllm serve``."""
    adapted = target.parameters == "lora"
    served = f"{settings.name}-base" if adapted else settings.name
    found = [
        target.model if adapted else target.path, "--served-model-name", served, "--host", "0.0.0.0",
        "--port", str(PORT), "--dtype", target.dtype,
    ]
    if adapted:
        found += ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(target.rank)]
        found += ["--lora-modules", f"{settings.name}={target.path}"]
    if adapted and target.revision:
        found += ["--revision", target.revision, "--tokenizer-revision", target.revision]
    if settings.gpus > 1:
        found += ["--tensor-parallel-size", str(settings.gpus)]
    if settings.reasoning_parser:
        found += ["--reasoning-parser", settings.reasoning_parser]
    if settings.kserve_tls:
        # the certificate is replaced while vLLM runs
        found += ["--enable-ssl-refresh", "--ssl-certfile", f"{_CERTIFICATE}/tls.crt"]
        found += ["--ssl-keyfile", f"{_CERTIFICATE}/tls.key"]
    if target.trust_remote_code:
        found.append("--trust-remote-code")
    for name, value in settings.options.items():
        found += _option(name.replace("_", "-"), value)
    return found


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]


def _values(**values: str) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _from_secret(variable: str, secret: str, key: str) -> Manifest:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
