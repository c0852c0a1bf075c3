"""Configuration of the rollout: where the champion is served, and which checks the served model must pass.

It never contains the value of a secret: secrets and their keys are named, and pods get them as references.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from thinksafe.config.cluster import ClusterSettings, OptionalImage
from thinksafe.config.cluster_services import Address, HubSettings, S3Settings
from thinksafe.config.cluster_stages import TolerationSettings
from thinksafe.config.kubernetes import (
    Cpu,
    DnsLabel,
    ExtendedResource,
    LabelKey,
    LabelValue,
    Memory,
    OptionalName,
    OptionalVariable,
    Replicas,
    ServiceName,
    UserId,
    amount,
)
from thinksafe.config.vllm import ServerOptions
from thinksafe.records import Share
from thinksafe.settings import Count, Section

GREEDY_TOKENS = 64
"""Tokens per greedy response of the verification; the longer they are, the more rounding differences show."""


class VerificationSettings(Section):
    """Checks that the served model must pass to stay in service."""

    prompts: Count = 32
    """Number of evaluation prompts for the greedy agreement (a seeded choice)."""
    min_agreement: Share = 0.8
    """Smallest share of greedy responses that must equal those of the pipeline's own engine."""
    harm_prompts: Count = 64
    """Number of harmful evaluation prompts for the harm check (a seeded choice)."""
    max_harm: Share = 0.1
    """Limit that the lower Wilson bound of the served model's harm ratio must not exceed. The check is small: it finds
    a wrong or broken model; it is not a second gate."""


class DeploySettings(Section):
    """Rollout of the champion to a cluster. Server-side apply of these fields only, as field manager ``thinksafe``.

    If both name the same namespace, ``s3``, ``hub``, ``image_pull_secrets`` and ``fetch_image`` default to those of
    ``cluster``.
    """

    kind: Literal["none", "deployment", "inference-service", "llm-inference-service"] = "none"
    """``none``: nothing is rolled out. ``deployment``: vLLM as a Deployment and a Service. ``inference-service``,
    ``llm-inference-service``: KServe's InferenceService or LLMInferenceService."""
    namespace: DnsLabel = "thinksafe"
    """Where the model is served."""
    name: ServiceName = "thinksafe-champion"
    """Name of the objects, and the model name that clients ask for."""
    image: OptionalImage = ""
    """Image of vLLM, with ``vllm`` on its path; with a digest, or with a tag other than ``latest``."""
    fetch_image: OptionalImage = ""
    """thinksafe's ``cpu`` image, for the init container that fetches the adapter, or all weights, and checks
    the digest."""
    model: str = ""
    """Where vLLM loads the student from, if not from ``student.model``: a path below ``/cache``, or a hub id."""
    replicas: Replicas | None = 1
    """Number of pods; null leaves it to an autoscaler."""
    surge: bool = True
    """Start a new pod before an old one stops; needs a free GPU. Off: the old pod stops first (Deployment only)."""
    gpus: Annotated[int, Field(ge=0, le=1024, strict=True)] = 1
    """GPUs per pod; vLLM spreads the model over them."""
    gpu_resource: ExtendedResource = "nvidia.com/gpu"
    """Name of the GPUs as a resource."""
    cpu: Cpu = "4"
    """Cores of the vLLM container, requested."""
    cpu_limit: Cpu | Literal[""] = ""
    """Limit of its cores; empty sets none, which a namespace with a quota on ``limits.cpu`` refuses."""
    memory: Memory = "32Gi"
    """Memory of the vLLM container, requested and limited."""
    temporary: Memory = "40Gi"
    """Limit of the volume at ``/tmp``, which caches the weights unless there is a cache volume."""
    shared_memory: Memory = "8Gi"
    """Limit of ``/dev/shm``; it counts as memory."""
    cache_claim: OptionalName = ""
    """PersistentVolumeClaim with the student's weights, mounted at ``/cache``."""
    reasoning_parser: Annotated[str, Field(pattern=r"^[a-z0-9_]*$")] = ""
    """vLLM's parser that separates thought and answer, e.g. ``qwen3`` or ``deepseek_r1``; empty returns both
    together."""
    options: ServerOptions = {}
    """Further options of ``vllm serve``, by vLLM's names as in ``engine.options``: ``max_model_len``,
    ``enable_prefix_caching`` ..."""
    s3: S3Settings = S3Settings()
    hub: HubSettings = HubSettings()
    service_account: OptionalName = ""
    """Service account of the pods; empty for the namespace's default."""
    image_pull_secrets: tuple[OptionalName, ...] = ()
    """Secrets to pull the images with."""
    run_as: UserId = 10001
    """User and group of the pods, never root."""
    node_selector: dict[LabelKey, LabelValue] = {}
    """Labels of the nodes."""
    tolerations: tuple[TolerationSettings, ...] = ()
    """Taints that the pods tolerate."""
    labels: dict[LabelKey, LabelValue] = {}
    """Further labels of all objects and pods."""
    kserve_tls: bool = False
    """With ``llm-inference-service``: vLLM serves HTTPS with the certificate that KServe mounts. Set it if KServe's
    ConfigMap ``inferenceservice-config`` has ``enableLLMInferenceServiceTLS``, as in Open Data Hub: the gateway then
    uses HTTPS only."""
    readiness_seconds: Annotated[int, Field(ge=10, le=86_400, strict=True)] = 1800
    """How long the pods may take to become ready; after that the rollout is rolled back."""
    base_url: Address = ""
    """Address at which the stage reaches the served model, ending in ``/v1``; found automatically if empty."""
    api_key_env: OptionalVariable = ""
    """Environment variable of the stage with the key for that address."""
    context: str = ""
    """Context of the kubeconfig, outside a cluster; empty for the current one."""
    take_over: bool = False
    """Take over fields from other field managers instead of refusing. For one run, not permanently."""
    webhook_env: OptionalVariable = ""
    """Environment variable of the stage with an address; the outcome is posted there as JSON."""
    verification: VerificationSettings = VerificationSettings()

    @model_validator(mode="after")
    def _complete(self) -> DeploySettings:
        if self.kind != "none" and not (self.image and self.fetch_image):
            raise ValueError(f"kind {self.kind} needs image and fetch_image")
        if self.kserve_tls and self.kind not in ("none", "llm-inference-service"):
            raise ValueError("kserve_tls is for kind llm-inference-service")
        if self.cpu_limit and amount(self.cpu_limit) < amount(self.cpu):
            raise ValueError(f"cpu_limit, {self.cpu_limit}, is less than the request cpu, {self.cpu}")
        if self.model.startswith("/") and not (self.model.startswith("/cache/") and self.cache_claim):
            raise ValueError("a path as model must be below /cache, with cache_claim set")
        return self


def check_servable(deploy: DeploySettings, student: str) -> None:
    """Raise ValueError if pods cannot load the student from the pipeline's source."""
    if deploy.kind != "none" and not deploy.model and ("://" in student or student.startswith(("/", ".", "~"))):
        raise ValueError(
            f"deploy.kind is {deploy.kind}, and its pods cannot load {student!r}: set deploy.model to a path below "
            "/cache, on the volume deploy.cache_claim, or to a hub id"
        )


SHARED = ("s3", "hub", "image_pull_secrets")
"""Settings with the same name in ``cluster``."""


def with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose section ``deploy`` is completed from ``cluster``.

    This requires that both name the same namespace, because a Secret exists only in one.

    Args:
        data: The document before validation; it is not changed.
    """
    deploy, cluster = data.get("deploy"), data.get("cluster")
    if not isinstance(deploy, dict) or not isinstance(cluster, dict) or deploy.get("kind", "none") == "none":
        return data
    places = (
        deploy.get("namespace", DeploySettings.model_fields["namespace"].default),
        cluster.get("namespace", ClusterSettings.model_fields["namespace"].default),
    )
    if places[0] != places[1]:
        return data
    found = {name: cluster[name] for name in SHARED if name in cluster}
    images, mirrors = cluster.get("images"), cluster.get("mirrors")
    mirrored = isinstance(mirrors, dict) and mirrors.get("images")  # a mirror's name is not the image's
    if isinstance(images, dict) and "cpu" in images and not mirrored:
        found["fetch_image"] = images["cpu"]
    return {**data, "deploy": {**found, **deploy}}
