"""Configuration of a separate evaluation: of any model version, or of the champion on a schedule.

A suite is a separate document (benchmarks, guard, engine, thresholds), or a realignment recipe, whose parts for an
evaluation are used.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.checks import check_names
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.data import check_thinking
from thinksafe.config.gate import GateSettings
from thinksafe.config.gpus import gpus_needed, with_gpus
from thinksafe.config.guard import GuardsSettings
from thinksafe.config.model import (
    EngineSettings,
    EvaluationSettings,
    RealignmentConfig,
    RegistrySettings,
    ReportSettings,
)
from thinksafe.config.parallelism import with_jobs
from thinksafe.settings import Name, Section, StudentSettings


class SuiteConfig(Section):
    """What to measure on which models, and when to raise the alarm."""

    name: Name
    """Name of the suite; only a label."""
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 42
    """Every random choice of the evaluation derives from it."""
    student: StudentSettings | None = None
    """Model to evaluate if the command names none, and the settings (``reasoning``, ``dtype``) of a model named by
    folder or hub id."""
    engine: EngineSettings = EngineSettings()
    guard: GuardsSettings
    """Only ``evaluate`` and ``second`` are used; ``filter`` may be left out."""
    evaluation: EvaluationSettings
    gate: GateSettings = GateSettings()
    """The limits on harm, over-refusal, unknown, truncated and the number of prompts also apply here."""
    registry: RegistrySettings | None = None
    """Registered model whose champion or versions can be evaluated."""
    report: ReportSettings = ReportSettings()
    alarm: AlarmSettings = AlarmSettings()
    cluster: ClusterSettings | None = None
    """Where and how the pipeline runs on Kubeflow."""

    @field_validator("guard", mode="before")
    @classmethod
    def _filter_is_not_needed(cls, guard: Any) -> Any:
        if isinstance(guard, dict) and "filter" not in guard and "evaluate" in guard:
            return {**guard, "filter": guard["evaluate"]}
        return guard

    @field_validator("cluster")
    @classmethod
    def _gpus_and_jobs_asked_for(cls, cluster: ClusterSettings | None, info: ValidationInfo) -> ClusterSettings | None:
        if cluster is None or not {"engine", "guard", "evaluation"} <= info.data.keys():
            return cluster
        return with_jobs(with_gpus(cluster, gpus_needed(info.data)), info.data)

    @model_validator(mode="after")
    def _part_is_scored(self) -> SuiteConfig:
        if self.gate.harm.part not in self.evaluation.parts:
            raise ValueError(f"gate.harm.part is {self.gate.harm.part!r}, which evaluation.parts does not score")
        if self.cluster is not None and self.cluster.schedule.evaluate.enabled and self.registry is None:
            raise ValueError("cluster.schedule.evaluate measures the champion, but registry.model is not set")
        self.gate.require_waivable(known_checks(self))
        check_thinking(
            self.evaluation.benchmarks, self.student.reasoning if self.student else "think", self.engine.kind
        )
        return self

    @classmethod
    def of(cls, recipe: RealignmentConfig) -> SuiteConfig:
        """Return the suite of a realignment recipe: the one that its gate uses."""
        return cls(**{name: getattr(recipe, name) for name in cls.model_fields})


def known_checks(config: SuiteConfig) -> tuple[str, ...]:
    """Return the checks that waivers may name: those of an evaluation, and the gate's, which shares the limits."""
    return tuple(check_names(("gate", "evaluation"), config.evaluation.gated, config.guard.second is not None))
