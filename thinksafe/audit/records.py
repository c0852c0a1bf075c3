"""The record types of an audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from thinksafe.records import Count, Interval, Part, Record, Share, Text, VerdictValue

Label = Literal["safe", "unsafe", "unsure"]
Positive = Annotated[int, Field(gt=0)]


class AuditItem(Record):
    """One row for a person to label: the only place where an audit shows text."""

    id: Text
    """Opaque; names neither model nor verdict."""
    label: str = ""
    """To be filled in: ``safe``, ``unsafe`` or ``unsure``."""
    note: str = ""
    """Free comment."""
    prompt: str
    response: str
    """The part of the response that the guard judged."""


class MemberKey(Record):
    """What a member of a panel says about a row."""

    guard: Text
    """Its kind, with its place in the panel if two are of one kind."""
    verdict: VerdictValue
    p_unsafe: Share | None
    threshold: Share | None
    """Its verdict is unsafe at this p(unsafe) or above; None for a guard without probabilities."""


class AuditKey(Record):
    """What a row is and how it was drawn, without text. The person does not see it until the labels are in."""

    schema_version: Literal[1] = 1
    id: Text
    run_id: Text
    role: Text
    """Role of the evaluated model, or ``pilot`` or ``training``."""
    benchmark: Text
    sample_id: Text
    part: Part
    guard: Text
    verdict: VerdictValue
    p_unsafe: Share | None
    threshold: Share | None
    """The guard's verdict is unsafe at this p(unsafe) or above; None for a guard without probabilities."""
    stratum: Text
    stratum_size: Positive
    """Verdicts in the stratum."""
    stratum_rows: Positive
    """Verdicts drawn from the stratum."""
    probability: Annotated[float, Field(gt=0.0, le=1.0)]
    """Chance that a verdict of the stratum is drawn, ``stratum_rows / stratum_size``."""
    weight: Annotated[float, Field(ge=1.0)]
    """Verdicts that the row stands for, ``1 / probability``."""
    prompts: Positive
    """Prompts in this benchmark."""
    members: tuple[MemberKey, ...] = Field(default=(), exclude_if=lambda members: not members)
    """What each member says, if the guard is a panel."""


class Measure(Record):
    """A number with its interval, or why there is none."""

    value: float | None
    interval: Interval | None = None
    n: Count
    """Labels that it is based on."""
    note: str = ""


class GuardRates(Record):
    """How good the guard is, with unsure labels counted as one of the two."""

    precision: Measure
    """Share of the texts not called safe that are unsafe."""
    recall: Measure
    """Share of the unsafe texts that are not called safe."""
    specificity: Measure
    """Share of the safe texts that are called safe."""
    kappa: Measure
    """Cohen's kappa between guard and people."""
    harm: Measure
    """Harm ratio that people would have found if they had judged every response."""


class DomainScore(Record):
    """The labels of one guard, model or benchmark."""

    guard: Text
    panel: str = Field(default="", exclude_if=lambda panel: not panel)
    """The panel of which the guard is a member; empty for the guard whose verdicts the run used."""
    role: str
    """Empty for all."""
    benchmark: str
    """Empty for all."""
    n: Positive
    unsure: Count
    matrix: tuple[tuple[Count, ...], ...]
    """Labels by verdict (rows: safe, unsafe, unknown) and label (columns: safe, unsafe, unsure)."""
    shares: tuple[tuple[Share, ...], ...]
    """The same table as estimated shares of all verdicts of the domain."""
    guard_harm: Share
    """Harm ratio according to the guard: share of all verdicts of the domain that are not safe."""
    rates: GuardRates
    """Unsure labels count as unsafe, as unknown verdicts do."""
    rates_if_unsure_is_safe: GuardRates | None
    """Unsure labels count as safe; None if there are none."""


class ThresholdScore(Record):
    """How well a threshold on p(unsafe) would have worked."""

    threshold: Share
    recall: Share
    specificity: Share
    youden: float
    """Recall plus specificity minus 1."""


class BestThreshold(Record):
    """The threshold with the highest Youden index on the labels; of several, the one nearest to that in use."""

    guard: Text
    panel: str = Field(default="", exclude_if=lambda panel: not panel)
    """The panel of which the guard is a member."""
    n: Count
    best: ThresholdScore | None
    used: ThresholdScore | None
    note: str = ""


class AuditScores(Record):
    """What an audit found. Holds no text."""

    schema_version: Literal[1] = 1
    run_ids: tuple[str, ...]
    part: Part
    confidence: Share
    seed: int
    """Seed of the draws behind the intervals of kappa."""
    labels: Positive
    unlabelled: Count
    """Rows of the sample without a label; the labelled rows of their stratum stand in for them."""
    domains: tuple[DomainScore, ...]
    too_few: tuple[str, ...]
    """Benchmarks with too few labels for separate numbers; they count in their model's numbers."""
    thresholds: tuple[BestThreshold, ...]

    @model_validator(mode="after")
    def _once_each(self) -> AuditScores:
        places = [(of.panel, of.guard, of.role, of.benchmark) for of in self.domains]
        guards = [(of.panel, of.guard) for of in self.thresholds]
        if len(set(places)) < len(places) or len(set(guards)) < len(guards):
            raise ValueError("the numbers of a model, benchmark or threshold occur twice")
        return self
