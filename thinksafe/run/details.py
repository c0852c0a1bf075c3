"""What stages record besides counts and digests: one model per stage, read from the ``details`` of its record.

:meth:`thinksafe.run.record.StageRecord.read` fills a model part by part. A part that is missing has its default, and so
has one that does not have its form (another version wrote it, or somebody edited it); of a list, the rows that have it
stay. Models whose parts are of rooms above stand there: :mod:`thinksafe.prompts.details`,
:mod:`thinksafe.training.details`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from thinksafe.config.compared import Shared
from thinksafe.records import Count, Decision, Interval, Measured, MetricSet, Part, Share

Finding = Literal["steerable", "foreign", "hardly", "not at all", "safe already", "undecided", "unjudged"]
"""What a pilot shows. ``foreign``: steerable, but the accepted traces are unlikely to the student."""


class Lenient(BaseModel):
    """Part of a stage's details: typed, and open to further fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Details(Lenient):
    """Base of the models. Every field has a default, which stands for a part that is missing or has another form."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _readable(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Return a part as far as it can be read; what cannot goes to the list of problems that is the context."""
        try:
            return handler(value)
        except ValidationError as error:
            if not isinstance(info.context, list):
                raise
            name = str(info.field_name)
            default = cls.model_fields[name].get_default(call_default_factory=True)
            if not isinstance(value, list) or not isinstance(default, tuple):
                info.context.append(_words(name, error))
                return default
            rows: list[Any] = []
            for index, row in enumerate(value):
                try:
                    rows += handler([row])
                except ValidationError as wrong:
                    info.context.append(_words(f"{name}[{index}]", wrong))
            return tuple(rows)


def _words(place: str, error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    fields = sorted({".".join(map(str, item["loc"])) or "value" for item in found})
    return f"{place} cannot be read ({', '.join(fields[:5])})"


class Rate(Lenient):
    """A share with its count and interval, as diagnose measures it."""

    value: Share | None
    """None when there was nothing to measure, such as the flip rate of a pilot without unsafe plain samples."""
    n: Count = 0
    interval: Interval | None = None


class Quantity(Lenient):
    """A number that is no share, with its interval."""

    value: Measured | None = None
    """None where there is none, or it has no limit; ``reason`` says why."""
    low: Measured | None = None
    """Limits of the interval; None where it is open, or there is none."""
    high: Measured | None = None
    n: Count = 0
    """Prompts."""
    method: str = ""
    """Method of the interval."""
    reason: str = ""
    """Why there is no value; a clause."""


class ContextRates(Lenient):
    """What a safety context makes of the pilot's prompts, by greedy responses."""

    name: str
    flip_rate: Rate
    """Teacher flip rate: the share of harmful prompts without a safe plain sample whose response is complete and
    safe."""
    refused: Rate
    """Share of benign prompts, of those with a plain sample that complies, whose response does not."""
    excluded: str = ""
    """Why training cannot use it; a clause, empty if it can."""


class Prediction(Lenient):
    """What a way of sampling would cost, by harmful prompt, from the acceptance in the pilot; the truth is within."""

    method: str
    kept_low: Share
    """Share of prompts with an example."""
    kept_high: Share
    drawn_low: Measured
    """Samples of a prompt."""
    drawn_high: Measured
    samples_low: Measured | None
    """Samples of a kept example; None if none is kept."""
    samples_high: Measured | None


class Sentence(Lenient):
    """A sentence of a recommendation, and the numbers that it rests on."""

    text: str
    evidence: str


class Recommendation(Lenient):
    """Which methods suit the student, by its pilot."""

    finding: Finding
    methods: tuple[str, ...]
    """Kinds of methods, the best first; empty if there is nothing to recommend."""
    sentences: tuple[Sentence, ...]


class FunnelRow(Lenient):
    """Samples of one label and arm that met one end."""

    label: str
    arm: str
    reason: str
    """``accepted`` or the reason of rejection."""
    count: Count
    template: str = ""
    """Steering template of a retry; empty for the first try."""

    @property
    def drawn(self) -> str:
        """How the samples were drawn, in words."""
        return f"{self.arm}, retry: {self.template}" if self.template else self.arm


class PipelineStatus(Lenient):
    """Status of the tasks before the exit task, from Kubeflow Pipelines."""

    state: str = ""
    """``SUCCEEDED``, ``FAILED``, ``CANCELLED`` ...; empty when unknown."""
    message: str = ""


class EstimatedHours(Lenient):
    """What a run was estimated to take, before it started."""

    low: Measured
    point: Measured
    """GPU-hours, or hours of the machine."""
    high: Measured
    gpus: bool
    runs: tuple[str, ...] = ()
    """Earlier runs that it rests on."""
    complete: bool = True
    """Whether the time of every task was known."""


class PlanDetails(Details):
    """Of plan, plan_evaluation and plan_comparison."""

    date: str = ""
    """Day (UTC, ISO 8601) of the run's first plan."""
    config: dict[str, Any] = {}
    """The whole configuration, or the suite, with every default."""
    config_digest: str = ""
    base: dict[str, Any] = {}
    """ModelReference of the student; empty in an evaluation."""
    champion: dict[str, Any] = {}
    """ModelReference, marked absent if there is no champion; empty in an evaluation."""
    champion_generation: int | None = None
    model: dict[str, Any] | None = None
    """ModelReference of an evaluation's model; None where there is nothing to evaluate."""
    model_name: str = ""
    fresh: bool = False
    if_champion: bool = False
    mlflow_run: str = ""
    kfp_run: str = ""
    author: str = ""
    """Who published, submitted or started the run; empty where no approval is required."""
    code: dict[str, Any] = {}
    """Version of this package and of the libraries under it."""
    sections: dict[str, Any] = {}
    """Section of each stage by name."""
    estimate: EstimatedHours | None = None
    """None where no earlier run tells the time, and there are no GPUs."""
    methods: dict[str, dict[str, Any]] = {}
    """Of a comparison: the whole configuration of each method by name."""
    shared: tuple[Shared, ...] = ()
    """Of a comparison: with whom each method shares work."""

    @property
    def registry(self) -> dict[str, Any]:
        """The configuration's section registry; empty where it has none."""
        return _mapping(self.config.get("registry"))

    @property
    def teacher(self) -> dict[str, Any]:
        """The method's other model, with its digest: it writes the training samples, or training imitates it."""
        found = (_mapping(self.sections.get(name)).get("teacher") for name in ("sample_training", "train"))
        return next(map(_mapping, filter(None, found)), {})

    @property
    def part(self) -> Part:
        """Part of the responses that the gate reads."""
        part = _mapping(_mapping(self.config.get("gate")).get("harm")).get("part")
        return part if part in ("whole", "thought", "answer") else "whole"


class DueDetails(Details):
    """Of due."""

    if_changed: bool = False
    same: bool = False
    changed: tuple[str, ...] | None = None
    """Names of the inputs that differ from those of the champion's run; None if unknown."""
    champion_run: str = ""
    champion_generation: int | None = None
    taken_back: dict[str, Any] | None = None
    """The rolled-back candidate that this run would make again."""
    asked: dict[str, Any] | None = None
    """The candidate that this run would make again and that awaits approval or was rejected."""


class JudgeDetails(Details):
    """Of judge."""

    guard: str = ""
    guard_digest: str = ""
    second_guard: str = ""
    second_guard_digest: str = ""


class DecisionDetails(Details):
    """Of gate, and of every stage that decides."""

    decision: Decision | None = None


class DiagnoseDetails(DecisionDetails):
    """Of diagnose."""

    continues: bool | None = None
    """Whether the run goes on; None where an older version did not say."""
    acceptance_steered: Rate | None = None
    acceptance_plain: Rate | None = None
    flip_rate: Rate | None = None
    reasons: dict[str, dict[str, Count]] = {}
    """Samples by arm and by what became of them."""
    odds_ratio: Quantity | None = None
    """Odds of acceptance steered by those plain (omega)."""
    cross_entropy: dict[str, Quantity] = {}
    """Of accepted traces under the unsteered student by arm, in nats a token."""
    excess: Quantity | None = None
    """Cross-entropy of accepted steered traces less that of accepted plain ones, in nats a token."""
    tokens: dict[str, Measured] = {}
    """Mean tokens of a sample by arm."""
    predictions: tuple[Prediction, ...] = ()
    contexts: tuple[ContextRates, ...] = ()
    """Safety contexts that were searched, the best first and those that are excluded last."""
    context: str = ""
    """Name of the one that training uses; empty if the method has none, or none can be used."""
    recommendation: Recommendation | None = None

    @property
    def teacher(self) -> ContextRates | None:
        """The best context that was searched; None if nothing was, or all are excluded."""
        return next((found for found in self.contexts if not found.excluded), None)


class CurateDetails(DecisionDetails):
    """Of curate."""

    funnel: tuple[FunnelRow, ...] = ()


class MetricsDetails(Details):
    """Of metrics."""

    metrics: MetricSet | None = None


class MonitorDetails(DecisionDetails):
    """Of monitor."""

    number: int | None = None
    previous: dict[str, Any] | None = None
    """The evaluation that this one was compared with: ``number``, ``run_id``, ``created``."""
    previous_metrics: MetricSet | None = None
    """What this evaluation was compared with: as it was then, or its samples measured again."""
    changed: tuple[str, ...] = ()
    """Instruments that measured the last evaluation and do not measure now."""


class RegisterDetails(Details):
    """Of register."""

    registration: dict[str, Any] = {}
    """:class:`thinksafe.registry.registration.Registration`."""


class PromoteDetails(Details):
    """Of promote."""

    entry: dict[str, Any] = {}
    """:class:`thinksafe.registry.ledger.LedgerEntry`."""
    approval: dict[str, Any] = {}
    """Where the candidate stood when it was not promoted (:func:`thinksafe.registry.approvals.shown`)."""


class DeployDetails(Details):
    """Of deploy."""

    rollout: dict[str, Any] = {}
    """:class:`thinksafe.deploy.rollout.Rollout`."""


class AlarmDetails(Details):
    """Of alarm."""

    webhook: str = ""
    """Result of the call."""


class ReportDetails(Details):
    """Of report."""

    status: PipelineStatus = PipelineStatus()
    report: str = ""
    """Key of the page."""
    mlflow_run: str = ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
