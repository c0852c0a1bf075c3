"""The types of a run's summary, and the files that are published from it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel

from thinksafe.config.checks import Maker
from thinksafe.config.rounds import round_of, without_round
from thinksafe.measuring.statistics import Estimate, stratified_average
from thinksafe.prompts.decontamination import Contamination
from thinksafe.prompts.details import PromptSetRow
from thinksafe.records import Count, Decision, Metric, MetricKind, MetricSet, Record, Role
from thinksafe.run.details import (
    ContextRates,
    EstimatedHours,
    FunnelRow,
    Prediction,
    Quantity,
    Rate,
    Recommendation,
)
from thinksafe.training.details import CurvePoint
from thinksafe.training.drift import Drift

RunOutcome = Literal[
    "promoted", "rolled back", "awaiting approval", "rejected", "passed, not promoted", "refused by gate",
    "stopped by diagnose", "stopped by curate", "stopped by train", "evaluated", "regressed", "nothing to do", "failed",
    "incomplete",
]

MAKING = ("sample-training", "judge-training", "curate", "train")
"""Steps that make a candidate, in each round."""
STEPS = (
    "plan", "prepare", "due", "sample-pilot", "judge-pilot", "diagnose", *MAKING, "register",
    *(
        f"{stage}-{role}" for role in get_args(Role) if role != "previous"
        for stage in ("sample", "judge", "grade", "metrics")
    ),
    "gate", "plan-promotion", "promote", "sample-rollout", "deploy", "judge-previous", "grade-previous",
    "metrics-previous", "monitor", "alarm",
)
"""Every step of a realignment of one round, or of an evaluation, in reading order."""


def place(task: str) -> tuple[int, int, int, str]:
    """Sort key in reading order, whatever the order in which tasks started: that differs between equal runs."""
    name = without_round(task)
    if name in MAKING:  # the steps of one round after the other
        return (STEPS.index(MAKING[0]), round_of(task), MAKING.index(name), task)
    return (STEPS.index(task) if task in STEPS else len(STEPS), 0, 0, task)


_MEASURED = ("sample", "judge", "grade", "metrics")
EVALUATION_ONLY = frozenset(
    {
        *(f"{stage}-evaluated" for stage in _MEASURED), *(f"{stage}-previous" for stage in _MEASURED[1:]), "monitor",
        "alarm",
    }
)
"""Steps of a standalone evaluation that a realignment does not have."""
LATER_ONLY = frozenset({"plan-promotion"})
"""Steps that only a run has whose candidate was promoted later, once people had approved it."""
ROLLOUT_ONLY = frozenset({"sample-rollout", "deploy"})
"""Steps of a realignment with a rollout."""
REALIGNMENT_ONLY = frozenset(STEPS) - EVALUATION_ONLY - {"plan", "prepare"} | {"alarm"}
"""Steps of a realignment that an evaluation does not have, and the alarm, whose absence is good news."""


class Diagnosis(Record):
    """Whether there is latent safety knowledge: the pilot with and without steering."""

    decision: Decision | None
    continues: bool
    """Whether the run continued, because the diagnosis passed or was set to warn only."""
    acceptance_steered: Rate | None
    acceptance_plain: Rate | None
    flip_rate: Rate | None
    funnel: tuple[FunnelRow, ...]
    """Outcomes of the pilot's samples."""
    odds_ratio: Quantity | None = None
    cross_entropy: dict[str, Quantity] = {}
    excess: Quantity | None = None
    tokens: dict[str, float] = {}
    predictions: tuple[Prediction, ...] = ()
    contexts: tuple[ContextRates, ...] = ()
    context: str = ""
    """Name of the context that training uses."""
    recommendation: Recommendation | None = None


class Step(Record):
    """One step of the pipeline: a task."""

    name: str
    stage: str
    failed: bool
    verdict: str
    started: float
    """Unix time in seconds."""
    seconds: float
    gpu_seconds: float
    """Seconds, failed attempts included, times the GPUs that the task and the pods that worked for it held."""
    retried: dict[str, Count] = {}
    """Attempts that failed and were followed by another, by how they ended."""
    counts: dict[str, int | float]
    """Rows, tokens, chunks, chunks_reused ..."""


class Failure(Record):
    """A stage that failed; ``task`` is empty if no failed task left a record."""

    task: str
    stage: str
    error: str
    action: str


class Provenance(Record):
    """Where the numbers come from, with the times, ids and versions that must not be in the other files."""

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
    """Versions of this package and of the libraries it uses."""
    adapter_digest: str
    weights_digest: str = ""
    """Of all weights, where they were trained instead of an adapter."""
    prompt_sets: tuple[PromptSetRow, ...]
    digests: dict[str, dict[str, dict[str, str]]]
    """Task -> ``inputs`` | ``outputs`` -> name -> digest."""
    registration: dict[str, Any]
    promotion: dict[str, Any]
    steps: tuple[Step, ...]
    failures: tuple[Failure, ...]

    @property
    def trained_digest(self) -> str:
        """Digest of what was trained: the adapter, or all weights; empty if nothing was."""
        return self.adapter_digest or self.weights_digest


class PublishedMetrics(Record):
    """The metrics.json of a realignment. Contains no time, path, run id or version."""

    base: MetricSet | None = None
    candidate: MetricSet | None = None
    champion: MetricSet | None = None


class PublishedEvaluation(Record):
    """The metrics.json of a standalone evaluation. Contains no time, path, run id or version."""

    evaluated: MetricSet | None = None
    previous: MetricSet | None = None
    """The same model in its last evaluation with the same suite."""


class RunSummary(Record):
    """One run, whatever its outcome."""

    run_id: str
    outcome: RunOutcome
    decision: Decision | None
    """Decision of the gate, of diagnose or curate if it stopped the run, or of monitor."""
    metrics: dict[Role, MetricSet]
    """Only models that have metrics."""
    diagnosis: Diagnosis | None
    funnel: tuple[FunnelRow, ...]
    """Outcomes of the training samples in curation."""
    curve: tuple[CurvePoint, ...]
    training: dict[str, Any]
    """Other details of train (steps, dropped_too_long ...)."""
    drift: tuple[Drift, ...]
    """How far training moved the student."""
    contamination: Contamination | None
    """Overlap of the training prompts with the benchmarks."""
    previous: dict[str, Any]
    """The evaluation that this one was compared with: ``number``, ``run_id``, ``created``."""
    taken_back: dict[str, Any]
    """The rolled-back candidate that the run would have made again: ``run_id``, ``generation``, ``reason``."""
    asked: dict[str, Any] = {}
    """The candidate that it would have made again and about which people were asked: ``run_id``, ``version``,
    ``state``, ``words``."""
    prompt_sets: tuple[PromptSetRow, ...]
    dropped: dict[str, int]
    registration: dict[str, Any]
    promotion: dict[str, Any]
    approval: dict[str, Any] = {}
    """Where the candidate stood when the run ended, if it awaited approval or was rejected."""
    steps: tuple[Step, ...]
    """In the order of ``STEPS``, those of earlier rounds before the last round's."""
    rounds: tuple[tuple[FunnelRow, ...], ...] = ()
    """What became of the training samples of each round, if there are several."""
    failures: tuple[Failure, ...]
    problems: tuple[str, ...]
    """Parts of records that could not be read."""
    provenance: Provenance
    estimate: EstimatedHours | None = None
    """What the run was estimated to take before it started; None if that was not known."""

    @property
    def is_evaluation(self) -> bool:
        """Whether the run is a standalone evaluation of one model."""
        return any(step.name in EVALUATION_ONLY or step.stage == "plan_evaluation" for step in self.steps)

    @property
    def maker(self) -> Maker:
        """The stage that made the checks of the decision."""
        if self.decision is not None and self.decision.stopped_by in ("diagnose", "curate", "train"):
            return self.decision.stopped_by
        return "evaluation" if self.is_evaluation else "gate"

    def step(self, name: str) -> Step | None:
        """Return a step by name, or None when it did not run."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def spent(self) -> float | None:
        """What the run took so far, in the unit of its estimate; None without an estimate."""
        if self.estimate is None:
            return None
        return sum(step.gpu_seconds if self.estimate.gpus else step.seconds for step in self.steps) / 3600

    def setting(self, *path: str, default: Any = None) -> Any:
        """Return a value of the configuration, or ``default`` when the plan is missing or lacks it."""
        return dig(self.provenance.config, *path, default=default)


def published(summary: RunSummary) -> dict[str, BaseModel]:
    """Return the JSON files of a run by name; files without content are left out.

    ``decision.json`` and ``metrics.json`` are equal for equal runs; everything that differs is in ``provenance.json``.
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
