"""The types of a run's summary, and the files that are published from it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel

from thinksafe.config.checks import Maker
from thinksafe.measuring.statistics import Estimate, stratified_average
from thinksafe.prompts.decontamination import Contamination
from thinksafe.prompts.details import PromptSetRow
from thinksafe.records import Count, Decision, Metric, MetricKind, MetricSet, Record, Role
from thinksafe.run.details import FunnelRow, Rate
from thinksafe.training.details import CurvePoint
from thinksafe.training.drift import Drift

RunOutcome = Literal[
    "promoted", "rolled back", "passed, not promoted", "refused by gate", "stopped by diagnose", "stopped by curate",
    "evaluated", "regressed", "nothing to do", "failed", "incomplete",
]

STEPS = (
    "plan", "prepare", "due", "sample-pilot", "judge-pilot", "diagnose",
    "sample-training", "judge-training", "curate", "train", "register",
    *(
        f"{stage}-{role}" for role in get_args(Role) if role != "previous"
        for stage in ("sample", "judge", "grade", "metrics")
    ),
    "gate", "promote", "sample-rollout", "deploy", "monitor", "alarm",
)
"""Every step of a realignment or evaluation in reading order; the shards of a stage are one step."""


_MEASURED = ("sample", "judge", "grade", "metrics")
EVALUATION_ONLY = frozenset({*(f"{stage}-evaluated" for stage in _MEASURED), "monitor", "alarm"})
"""Steps of an evaluation by itself that a realignment does not have."""
ROLLOUT_ONLY = frozenset({"sample-rollout", "deploy"})
"""Steps of a realignment that rolls out."""
REALIGNMENT_ONLY = frozenset(STEPS) - EVALUATION_ONLY - {"plan", "prepare"} | {"alarm"}
"""Steps of a realignment that an evaluation does not have; and the alarm, whose absence is good news."""


class Diagnosis(Record):
    """Is there latent safety knowledge: the pilot with and without steering."""

    decision: Decision | None
    continues: bool
    """The run went on, because the diagnosis passed or could only warn."""
    acceptance_steered: Rate | None
    acceptance_plain: Rate | None
    flip_rate: Rate | None
    funnel: tuple[FunnelRow, ...]
    """What became of the pilot's samples."""


class Step(Record):
    """One step of the pipeline, its shards added up."""

    name: str
    stage: str
    tasks: Count
    failed: Count
    verdict: str
    started: float
    """Unix time in seconds of the first task."""
    seconds: float
    """Sum over the tasks."""
    longest: float
    """Seconds of the slowest task."""
    gpu_seconds: float
    """Sum over the tasks of their seconds times the GPUs that they held."""
    counts: dict[str, int | float]
    """Sums over the tasks (rows, tokens, chunks, chunks_reused ...)."""


class Failure(Record):
    """A stage that could not do its work; ``task`` is empty when none left a record."""

    task: str
    stage: str
    error: str
    action: str


class Provenance(Record):
    """What the numbers came from, with the times, ids and versions that the other files must not hold."""

    schema_version: Literal[1] = 1
    run_id: str
    outcome: RunOutcome
    recipe: str
    method: str
    config_digest: str
    config: dict[str, Any]
    """The whole configuration with every default, thresholds included; credentials in URIs are blanked."""
    base: dict[str, Any]
    champion: dict[str, Any]
    teacher: dict[str, Any] = {}
    """Settings and digest of the model that wrote the training responses; empty where the student did."""
    guards: dict[str, dict[str, Any]]
    """``filter`` | ``evaluate`` | ``second`` -> name and digest of the guard that judged."""
    code: dict[str, Any]
    """Version of this package and of the libraries under it."""
    adapter_digest: str
    prompt_sets: tuple[PromptSetRow, ...]
    digests: dict[str, dict[str, dict[str, str]]]
    """Task -> ``inputs`` | ``outputs`` -> name -> digest."""
    registration: dict[str, Any]
    promotion: dict[str, Any]
    steps: tuple[Step, ...]
    failures: tuple[Failure, ...]


class PublishedMetrics(Record):
    """The metrics.json of a realignment. Holds no time, path, run id or version."""

    base: MetricSet | None = None
    candidate: MetricSet | None = None
    champion: MetricSet | None = None


class PublishedEvaluation(Record):
    """The metrics.json of an evaluation by itself. Holds no time, path, run id or version."""

    evaluated: MetricSet | None = None
    previous: MetricSet | None = None
    """The same model at its last evaluation by the same suite."""


class RunSummary(Record):
    """One run, whatever came of it."""

    run_id: str
    outcome: RunOutcome
    decision: Decision | None
    """Of the gate, of diagnose or curate when it stopped the run, or of monitor."""
    metrics: dict[Role, MetricSet]
    """Present models only."""
    diagnosis: Diagnosis | None
    funnel: tuple[FunnelRow, ...]
    """What became of the training samples in curation."""
    curve: tuple[CurvePoint, ...]
    training: dict[str, Any]
    """Other details of train (steps, dropped_too_long ...)."""
    drift: tuple[Drift, ...]
    """How far training moved the student."""
    contamination: Contamination | None
    """What the training prompts shared with the benchmarks."""
    previous: dict[str, Any]
    """The evaluation that this one was compared with: ``number``, ``run_id``, ``created``."""
    taken_back: dict[str, Any]
    """The candidate that the run would make again, and that was taken back: ``run_id``, ``generation``, ``reason``."""
    prompt_sets: tuple[PromptSetRow, ...]
    dropped: dict[str, int]
    registration: dict[str, Any]
    promotion: dict[str, Any]
    steps: tuple[Step, ...]
    """In the order of ``STEPS``."""
    failures: tuple[Failure, ...]
    problems: tuple[str, ...]
    """Parts of records that could not be read."""
    provenance: Provenance

    @property
    def is_evaluation(self) -> bool:
        """Whether the run measured one model by itself."""
        return any(step.name in EVALUATION_ONLY or step.stage == "plan_evaluation" for step in self.steps)

    @property
    def maker(self) -> Maker:
        """Stage whose checks the decision holds."""
        if self.decision is not None and self.decision.stopped_by in ("diagnose", "curate"):
            return self.decision.stopped_by
        return "evaluation" if self.is_evaluation else "gate"

    def step(self, name: str) -> Step | None:
        """Return a step by name, or None when it did not run."""
        return next((step for step in self.steps if step.name == name), None)

    def setting(self, *path: str, default: Any = None) -> Any:
        """Return a value of the configuration, or ``default`` when the plan is missing or lacks it."""
        return dig(self.provenance.config, *path, default=default)


def published(summary: RunSummary) -> dict[str, BaseModel]:
    """Return the JSON files of a run by name; a file about nothing is left out.

    ``decision.json`` and ``metrics.json`` are equal for equal runs; what differs is in ``provenance.json``.
    """
    files: dict[str, BaseModel] = {}
    if summary.decision is not None:
        files["decision.json"] = summary.decision
    if summary.metrics:
        kind = PublishedEvaluation if summary.is_evaluation else PublishedMetrics
        files["metrics.json"] = kind(**summary.metrics)
    return {**files, "provenance.json": summary.provenance}


def reasoning_average(metrics: MetricSet) -> Estimate | None:
    """Return the average pass@1 that the gate compares: equally weighted over benchmarks. None without benchmarks."""
    found = of_kind(metrics, "reasoning")
    if len({metric.interval.confidence for metric in found}) != 1:
        return None
    return stratified_average([Estimate(metric.value, metric.interval, metric.n) for metric in found])


def of_kind(metrics: MetricSet, kind: MetricKind, part: str | None = None) -> list[Metric]:
    """Return the metrics of one kind (and part), in their order."""
    return [metric for metric in metrics.metrics if metric.kind == kind and part in (None, metric.part)]


def dig(value: Any, *path: str, default: Any = None) -> Any:
    """Return a value inside nested mappings, or ``default`` when a key is missing."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value
