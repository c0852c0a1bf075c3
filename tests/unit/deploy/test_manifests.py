"""Manifests: against Kubernetes' own schema, PodSecurity's rules, and expectations written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
from rollouts import DIGEST, TARGET, settings_of

from thinksafe.config.deploy import DeploySettings
from thinksafe.deploy.manifests import arguments, manifests, pod
from thinksafe.deploy.target import Target

FULL: dict[str, Any] = {
    "replicas": 2, "gpus": 4, "gpu_resource": "amd.com/gpu", "surge": False, "cache_claim": "weights",
    "reasoning_parser": "qwen3",
    "options": {"max_model_len": 32768, "enable_prefix_caching": True, "enforce_eager": False},
    "s3": {
        "secret": {"name": "s3", "access_key_id": "id", "secret_access_key": "key"}, "endpoint": "http://s3:9000",
        "region": "eu-1",
    },
    "hub": {"secret": "hub", "endpoint": "http://mirror"}, "service_account": "serving",
    "image_pull_secrets": ["pull"], "node_selector": {"gpu": "big"}, "labels": {"team": "safety"},
    "tolerations": [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"key": "spot", "effect": "NoExecute", "seconds": 60},
    ],
}
KINDS = ("deployment", "inference-service", "llm-inference-service")


@pytest.mark.parametrize("changed", [{}, FULL, {"replicas": None, "gpus": 0}], ids=["plain", "full", "scaled"])
@pytest.mark.parametrize("withdrawn", [False, True])
def test_kubernetes_accepts_the_objects(changed: dict[str, Any], withdrawn: bool) -> None:
    for manifest in manifests(settings_of(**changed), TARGET, withdrawn=withdrawn):
        kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_the_check_finds_a_field_that_is_none() -> None:
    deployment = manifests(settings_of(), TARGET)[-1]
    deployment["spec"]["template"]["spec"]["securityContexts"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.33", strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pods_of_every_kind_are_valid(kind: str) -> None:
    # KServe's own schema is not at hand, but the pod in its objects is Kubernetes'
    spec = pod(settings_of(kind=kind, **FULL), TARGET)
    wrapped = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    kubernetes_validate.validate(wrapped, "1.33", strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_fits_a_namespace_with_quotas(kind: str) -> None:
    spec = pod(settings_of(kind=kind, cpu="4", cpu_limit="8"), TARGET)
    for container in [*spec["initContainers"], *spec["containers"]]:
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    (serving,) = spec["containers"]
    assert serving["resources"]["limits"]["cpu"] == "8"
    assert "cpu" not in pod(settings_of(kind=kind), TARGET)["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize("kind", KINDS)
def test_pods_satisfy_the_restricted_profile(kind: str) -> None:
    spec = pod(settings_of(kind=kind, **FULL), TARGET)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in [*spec["initContainers"], *spec["containers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert "memory" in container["resources"]["limits"]
        assert not container["image"].endswith(":latest")
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} <= {"emptyDir", "persistentVolumeClaim"}


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_told_whose_signatures_count(kind: str) -> None:
    signed = pod(settings_of(kind=kind), replace(TARGET, signed_as="guarded@12", sign='{"trusted":[]}'))
    plain = pod(settings_of(kind=kind), TARGET)
    told = signed["initContainers"][0]["args"]
    assert told[:-4] == plain["initContainers"][0]["args"]
    assert told[-4:] == ["--signed-as", "guarded@12", "--sign", '{"trusted":[]}']


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_named_and_never_held(kind: str) -> None:
    settings = settings_of(kind=kind, **FULL)
    spec = pod(settings, TARGET)
    references = [
        (variable["name"], variable["valueFrom"]["secretKeyRef"]["name"], variable["valueFrom"]["secretKeyRef"]["key"])
        for container in [*spec["initContainers"], *spec["containers"]] for variable in container["env"]
        if "valueFrom" in variable
    ]
    assert references == [
        ("AWS_ACCESS_KEY_ID", "s3", "id"), ("AWS_SECRET_ACCESS_KEY", "s3", "key"), ("HF_TOKEN", "hub", "token")
    ]


def test_the_adapter_is_fetched_by_its_digest() -> None:
    fetching = pod(settings_of(), TARGET)["initContainers"][0]
    assert fetching["command"] == ["thinksafe", "fetch-trained"]
    assert fetching["args"] == [
        "--place", "s3://bucket/ts/adapters/abc", "--digest", DIGEST, "--out", f"/adapters/{DIGEST}"
    ]


WEIGHTS = replace(
    TARGET, parameters="full", place="s3://bucket/ts/weights/abc", size=16_400_000_000, rank=0
)


def test_weights_are_served_as_the_model_itself() -> None:
    spec = pod(settings_of(), WEIGHTS)
    assert spec["initContainers"][0]["args"] == [
        "--place", "s3://bucket/ts/weights/abc", "--digest", DIGEST, "--out", f"/weights/{DIGEST}"
    ]
    assert arguments(settings_of(), WEIGHTS) == [
        f"/weights/{DIGEST}", "--served-model-name", "guarded", "--host", "0.0.0.0", "--port", "8000",
        "--dtype", "bfloat16",
    ]
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "weights")
    assert volume["emptyDir"]["sizeLimit"] == "17Gi"  # 15.3 GiB and a tenth
    mounts = [mount for part in (*spec["initContainers"], *spec["containers"]) for mount in part["volumeMounts"]]
    assert [mount.get("readOnly", False) for mount in mounts if mount["mountPath"] == "/weights"] == [False, True]
    assert not any(mount["mountPath"] == "/adapters" for mount in mounts)
    served = manifests(settings_of(kind="llm-inference-service"), WEIGHTS)[-1]
    assert served["spec"]["model"]["uri"] == "s3://bucket/ts/weights/abc"
    annotations = served["metadata"]["annotations"]
    assert annotations["thinksafe/weights-digest"] == DIGEST
    assert "thinksafe/adapter-digest" not in annotations


def test_the_arguments_of_vllm() -> None:
    assert arguments(settings_of(**FULL), replace(TARGET, trust_remote_code=True)) == [
        "Qwen/Qwen3-8B", "--served-model-name", "guarded-base", "--host", "0.0.0.0", "--port", "8000",
        "--dtype", "bfloat16", "--enable-lora", "--max-loras", "1", "--max-lora-rank", "32",
        "--lora-modules", f"guarded=/adapters/{DIGEST}", "--revision", "b" * 40, "--tokenizer-revision", "b" * 40,
        "--tensor-parallel-size", "4", "--reasoning-parser", "qwen3", "--trust-remote-code",
        "--max-model-len", "32768", "--enable-prefix-caching", "--no-enforce-eager",
    ]
    assert "--reasoning-parser" not in arguments(settings_of(), TARGET)


def test_behind_kserves_tls_vllm_serves_and_is_probed_by_it() -> None:
    (serving,) = pod(settings_of(kind="llm-inference-service", kserve_tls=True), TARGET)["containers"]
    given = " ".join(serving["args"])
    assert "--ssl-certfile /var/run/kserve/tls/tls.crt --ssl-keyfile /var/run/kserve/tls/tls.key" in given
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert serving[name]["httpGet"]["scheme"] == "HTTPS"
    with pytest.raises(ValueError, match="kserve_tls is for kind llm-inference-service"):
        settings_of(kind="deployment", kserve_tls=True)


def test_kserves_template_is_overridden_where_it_would_contradict() -> None:
    """KServe lays the pod over its own, by container name, mount path, and port number."""
    (serving,) = pod(settings_of(kind="llm-inference-service"), TARGET)["containers"]
    assert serving["name"] == "main"
    assert serving["ports"][0]["containerPort"] == 8000
    assert serving["command"] == ["vllm", "serve"]
    assert "/dev/shm" in {mount["mountPath"] for mount in serving["volumeMounts"]}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert serving[name]["httpGet"] == {"path": "/health", "port": "http", "scheme": "HTTP"}


def test_an_autoscaler_keeps_the_replicas() -> None:
    assert "replicas" not in manifests(settings_of(replicas=None), TARGET)[-1]["spec"]
    for kind, field in (("inference-service", "minReplicas"), ("llm-inference-service", "replicas")):
        assert field not in str(manifests(settings_of(kind=kind, replicas=None), TARGET))


def test_another_adapter_restarts_the_pods_and_another_generation_does_not() -> None:
    def template(of: Target) -> Any:
        return manifests(settings_of(), of)[-1]["spec"]["template"]

    assert template(replace(TARGET, generation=9, run_id="other", version="1")) == template(TARGET)
    assert template(replace(TARGET, digest="e" * 64)) != template(TARGET)


def test_withdrawn() -> None:
    assert manifests(settings_of(replicas=None), TARGET, withdrawn=True)[-1]["spec"]["replicas"] == 0
    for kind in KINDS[1:]:
        annotations = [
            manifests(settings_of(kind=kind), TARGET, withdrawn=off)[-1]["metadata"]["annotations"]
            for off in (False, True)
        ]
        assert [found["serving.kserve.io/stop"] for found in annotations] == ["false", "true"]


def test_the_objects_of_kserve() -> None:
    inference = manifests(settings_of(kind="inference-service", replicas=2), TARGET)
    settings: DeploySettings = settings_of(kind="inference-service", replicas=2)
    labels = {
        "app.kubernetes.io/part-of": "thinksafe", "app.kubernetes.io/managed-by": "thinksafe",
        "app.kubernetes.io/name": "guarded", "app.kubernetes.io/component": "serving",
    }
    own = {"thinksafe/generation": "3", "thinksafe/run": "nightly-7", "thinksafe/adapter-digest": DIGEST}
    assert inference == [{
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {
            "name": "guarded", "namespace": "serving", "labels": labels,
            "annotations": {
                **own, "serving.kserve.io/deploymentMode": "RawDeployment", "serving.kserve.io/stop": "false"
            },
        },
        "spec": {"predictor": {
            "minReplicas": 2, "maxReplicas": 2, "labels": labels,
            "annotations": {"thinksafe/adapter-digest": DIGEST}, **pod(settings, TARGET),
        }},
    }]
    assert inference[0]["spec"]["predictor"]["containers"][0]["name"] == "kserve-container"
    settings = settings_of(kind="llm-inference-service")
    assert manifests(settings, TARGET) == [{
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LLMInferenceService",
        "metadata": {
            "name": "guarded", "namespace": "serving", "labels": labels,
            "annotations": {**own, "serving.kserve.io/stop": "false"},
        },
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen3-8B", "name": "guarded"}, "storageInitializer": {"enabled": False},
            "replicas": 1, "router": {"route": {}, "gateway": {}}, "template": pod(settings, TARGET),
        },
    }]
    assert pod(settings, TARGET)["containers"][0]["name"] == "main"
    local = settings_of(kind="llm-inference-service", cache_claim="weights", model="/cache/mine/8b")
    (service,) = manifests(local, replace(TARGET, model="/cache/mine/8b", revision=""))
    assert service["spec"]["model"]["uri"] == "pvc://weights/mine/8b"
