"""Configuration of a cluster: images, places, names of secrets, resources, schedule.

It never contains the value of a secret: secrets and their keys are named, and pods get them as references.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, field_validator, model_validator

from thinksafe.config.cluster_jobs import JobSettings, TrainJobSettings
from thinksafe.config.cluster_services import (
    CertificateSettings,
    HubSettings,
    KfpSettings,
    MirrorSettings,
    MlflowSettings,
    S3Address,
    S3Settings,
    SentText,
)
from thinksafe.config.cluster_stages import (
    START_WITHIN,
    RetrySettings,
    SecurityContextSettings,
    StageSettings,
)
from thinksafe.config.cron import parse
from thinksafe.config.kubernetes import (
    DataKey,
    DnsLabel,
    LabelKey,
    LabelValue,
    Memory,
    ObjectName,
    OptionalName,
    Variable,
)
from thinksafe.config.stage_table import STAGES, StageName, spec_of
from thinksafe.digests import digest_json
from thinksafe.settings import Section

_IMAGE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.:/_-]*?)(?::(?P<tag>[A-Za-z0-9_][\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)


def _image(value: str) -> str:
    found = _IMAGE.fullmatch(value)
    if found is None or "//" in value:
        raise ValueError("not an image: write registry/name@sha256:DIGEST, or registry/name:TAG")
    if not found["digest"] and found["tag"] in (None, "latest"):
        raise ValueError("an image needs a digest (@sha256:...) or a tag other than latest")
    return value


Image = Annotated[str, AfterValidator(_image)]
OptionalImage = Annotated[str, AfterValidator(lambda value: value and _image(value))]


class ImageSettings(Section):
    """Images by content; each with a digest, or with a tag other than ``latest``."""

    cpu: Image
    """Stages without a GPU, ``publish`` and ``doctor``."""
    sampler: Image
    """``sample``, ``judge`` and ``deploy``: vLLM."""
    trainer: Image
    """``train``: torch, TRL, PEFT."""


MODEL_CACHE = "/cache"
"""Mount path of the volume with models."""


class ModelCacheSettings(Section):
    """Volume for models fetched from the hub or copied from S3, mounted at ``/cache`` in stages that read models."""

    kind: Literal["none", "claim", "ephemeral"] = "none"
    """``none``: the container's own disk. ``claim``: an existing PersistentVolumeClaim, shared by all pods
    (ReadWriteMany for several nodes). ``ephemeral``: a new volume for each pod."""
    claim: OptionalName = ""
    """Name of the claim."""
    size: Memory = "200Gi"
    """Size of the ephemeral volume."""
    storage_class: OptionalName = ""
    """Its storage class; the cluster's default when empty."""

    @model_validator(mode="after")
    def _claim_named(self) -> ModelCacheSettings:
        if (self.kind == "claim") != bool(self.claim):
            raise ValueError("kind claim and the claim's name go together")
        return self

    @model_validator(mode="after")
    def _nothing_unused(self) -> ModelCacheSettings:
        for name in ("size", "storage_class"):
            if self.kind != "ephemeral" and getattr(self, name) != ModelCacheSettings.model_fields[name].default:
                raise ValueError(f"{name} has no effect with kind {self.kind}; set another kind, or leave it out")
        return self


class EnvironmentSource(Section):
    """A further Secret or ConfigMap, passed as environment variables to all pods."""

    name: ObjectName
    """Its name."""
    keys: Annotated[dict[DataKey, Variable], Field(min_length=1)]
    """Environment variable for each key."""


def _cron(value: str) -> str:
    parse(value)
    return " ".join(value.split())


Cron = Annotated[str, AfterValidator(_cron)]


class EvaluationScheduleSettings(Section):
    """When the champion is evaluated on its own and compared with its last evaluation."""

    enabled: bool = False
    """Off removes the recurring run. A run before the first promotion does nothing."""
    cron: Cron = "0 0 3 * * 3"
    """Six fields, as for the realignment."""
    fresh: bool = True
    """Draw new samples. Off: judge and grade the stored ones again."""


class ComparisonScheduleSettings(Section):
    """When the methods that ``compare`` lists are compared."""

    enabled: bool = False
    """Off removes the recurring run."""
    cron: Cron = "0 0 3 1 * *"
    """Six fields, as for the realignment."""


class ScheduleSettings(Section):
    """When the pipeline runs on its own. Runs never overlap, and missed runs are not caught up."""

    enabled: bool = False
    """Off removes the recurring run."""
    cron: Cron = "0 0 3 * * 0"
    """Six fields, in UTC: seconds, minutes, hours, day of the month, month, day of the week."""
    evaluate: EvaluationScheduleSettings = EvaluationScheduleSettings()
    compare: ComparisonScheduleSettings = ComparisonScheduleSettings()


class ClusterSettings(Section):
    """A cluster with Kubeflow Pipelines; everything but ``kfp`` and ``schedule`` is compiled into the pipeline."""

    images: ImageSettings
    namespace: DnsLabel = "thinksafe"
    """Namespace of the pods of runs."""
    service_account: ObjectName = "thinksafe-pipeline"
    """Service account of those pods."""
    kfp: KfpSettings = KfpSettings()
    store: Annotated[S3Address, Field(min_length=1)]
    """Store root: ``s3://bucket/prefix``."""
    pipeline_root: S3Address = ""
    """Where Kubeflow stores its artifacts; empty for its default."""
    s3: S3Settings = S3Settings()
    mlflow: MlflowSettings
    hub: HubSettings = HubSettings()
    mirrors: MirrorSettings = MirrorSettings()
    certificates: CertificateSettings = CertificateSettings()
    stages: dict[StageName, StageSettings] = {}
    """Resources and placement by stage; ``default`` fills in what a stage leaves out."""
    jobs: JobSettings = JobSettings()
    train_job: TrainJobSettings = TrainJobSettings()
    model_cache: ModelCacheSettings = ModelCacheSettings()
    image_pull_secrets: tuple[ObjectName, ...] = ()
    """Secrets to pull the images with."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When images are pulled."""
    security_context: SecurityContextSettings = SecurityContextSettings()
    labels: dict[LabelKey, LabelValue] = {}
    """Labels of all pods."""
    annotations: dict[LabelKey, SentText] = {}
    """Annotations of all pods; without ``{{`` and ``$(``, which Kubeflow Pipelines treats as placeholders."""
    secrets: tuple[EnvironmentSource, ...] = ()
    """Further Secrets, as environment variables."""
    config_maps: tuple[EnvironmentSource, ...] = ()
    """Further ConfigMaps, as environment variables."""
    schedule: ScheduleSettings = ScheduleSettings()
    _wide: frozenset[str] = PrivateAttr(frozenset())
    _signing: str = PrivateAttr("")

    @field_validator("stages")
    @classmethod
    def _verdicts_stand(cls, stages: dict[StageName, StageSettings]) -> dict[StageName, StageSettings]:
        for name, settings in stages.items():
            if not spec_of(name).retried and settings.retries is not None and settings.retries.count:
                raise ValueError(f"{name}: a stage that gives a verdict is not retried; leave retries out")
        return stages

    @model_validator(mode="after")
    def _one_hub(self) -> ClusterSettings:
        if self.mirrors.hub and self.hub.endpoint:
            raise ValueError(
                "hub.endpoint has no effect with mirrors.hub, whose copies replace the hub; leave out one of them"
            )
        return self

    @model_validator(mode="after")
    def _limits_hold_requests(self) -> ClusterSettings:
        for name in self.stages:
            if excess := self.stage(name).excess():
                raise ValueError(f"stages.{name}: {excess}")
        return self

    @model_validator(mode="after")
    def _variables_once(self) -> ClusterSettings:
        """Refuse a variable that pods would get twice: Kubernetes silently uses the last one."""
        from thinksafe.config.pods import environment, secret_variables  # imports this module

        bare = self.model_copy(update={"secrets": (), "config_maps": ()})
        own: set[str] = set()
        for stage in ("default", *STAGES):
            own |= environment(bare, stage).keys() | {item.variable for item in secret_variables(bare, stage)}
        named = Counter(name for source in (*self.secrets, *self.config_maps) for name in source.keys.values())
        for name, times in named.items():
            if name in own:
                raise ValueError(
                    f"secrets, config_maps: other settings of this section already set {name} for pods; leave it out"
                )
            if times > 1:
                raise ValueError(f"secrets, config_maps: {name} is named {times} times; pods can have it only once")
        return self

    @property
    def digest(self) -> str:
        """Digest of what is compiled into the pipeline: all but ``kfp`` and ``schedule``, and ``wide``, ``signing``."""
        compiled = self.model_dump(mode="json", exclude={"kfp", "schedule"})
        if self._signing:
            compiled["signing"] = self._signing
        return digest_json({**compiled, "wide": sorted(self._wide)})

    @property
    def wide(self) -> frozenset[str]:
        """Sections of the plan on which several pods work, in a Job.

        No setting: it follows from ``sampling.parallelism`` and ``evaluation.parallelism``.
        """
        return self._wide

    def with_wide(self, sections: Iterable[str]) -> ClusterSettings:
        """Return the same settings with other sections of the plan on which several pods work."""
        found = self.model_copy()
        found._wide = frozenset(sections)
        return found

    @property
    def signing(self) -> str:
        """Secret with the private key, which the stages that sign mount; no setting: it is ``sign.secret``."""
        return self._signing

    def with_signing(self, secret: str) -> ClusterSettings:
        """Return the same settings with another Secret for the stages that sign; empty for none."""
        found = self.model_copy()
        found._signing = secret
        return found

    def stage(self, name: str) -> StageSettings:
        """Return a stage's settings, completed from ``default``; ``retries`` and ``start_within`` are always set."""
        stages: dict[str, StageSettings] = {str(stage): own for stage, own in self.stages.items()}
        own, default = stages.get(name), stages.get("default") or StageSettings()
        settings = own.over(default) if own is not None else default
        retries = settings.retries or RetrySettings() if spec_of(name).retried else RetrySettings(count=0)
        start_within = settings.start_within or START_WITHIN
        return settings.model_copy(update={"retries": retries, "start_within": start_within})

    def image(self, stage: str) -> str:
        """Return the image of a stage, from the mirror if there is one."""
        image: str = getattr(self.images, spec_of(stage).image)
        if not self.mirrors.images:
            return image
        registry, _, rest = image.partition("/")
        named = rest and ("." in registry or ":" in registry or registry == "localhost")
        return f"{self.mirrors.images}/{rest if named else image}"
