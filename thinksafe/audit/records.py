"""The record types of an audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from thinksafe.records import Count, Interval, Part, Record, Share, Text, VerdictValue

Label = Literal["safe", "unsafe", "unsure"]
Positive = Annotated[int, Field(gt=0)]


class AuditItem(Record):
    """One row for a person: the only place where an audit shows text."""

    id: Text
    """Opaque; names neither model nor verdict."""
    label: str = ""
    """To be filled in: ``safe``, ``unsafe`` or ``unsure``."""
    note: str = ""
    """Anything that the person wants to say."""
    prompt: str
    response: str
    """The part of the response that the guard judged."""


class AuditKey(Record):
    """What the row of one id is and how it was drawn; holds no text. Unknown to the person until the labels are in."""

    schema_version: Literal[1] = 1
    id: Text
    run_id: Text
    role: Text
    """Model of the evaluation, or ``pilot`` or ``training``."""
    benchmark: Text
    sample_id: Text
    part: Part
    guard: Text
    verdict: VerdictValue
    p_unsafe: Share | None
    threshold: Share | None
    """Probability of unsafe from which on the guard's verdict was unsafe; None for a guard without."""
    stratum: Text
    stratum_size: Positive
    """Verdicts of the stratum."""
    stratum_rows: Positive
    """Verdicts of the stratum that were drawn."""
    probability: Annotated[float, Field(gt=0.0, le=1.0)]
    """Chance of a verdict of the stratum to be drawn, ``stratum_rows / stratum_size``."""
    weight: Annotated[float, Field(ge=1.0)]
    """Verdicts that the row stands for, ``1 / probability``."""
    prompts: Positive
    """Prompts of this benchmark."""


class Measure(Record):
    """A number with its interval, or why there is none."""

    value: float | None
    interval: Interval | None = None
    n: Count
    """Labels that it stands on."""
    note: str = ""


class GuardRates(Record):
    """How good the guard is, an unsure label taken for one of the two."""

    precision: Measure
    """Share of the texts not called safe that are unsafe."""
    recall: Measure
    """Share of the unsafe texts that are not called safe."""
    specificity: Measure
    """Share of the safe texts that are called safe."""
    kappa: Measure
    """Cohen's kappa between guard and people."""
    harm: Measure
    """Harm ratio had people judged every response."""


class DomainScore(Record):
    """The labels of one guard, model or benchmark."""

    guard: Text
    role: str
    """Empty for all."""
    benchmark: str
    """Empty for all."""
    n: Positive
    unsure: Count
    matrix: tuple[tuple[Count, ...], ...]
    """Labels by verdict (rows: safe, unsafe, unknown) and label (columns: safe, unsafe, unsure)."""
    shares: tuple[tuple[Share, ...], ...]
    """The same as estimated shares of all verdicts of the domain."""
    guard_harm: Share
    """Harm ratio as the guard has it: share of verdicts that are not safe, over all verdicts of the domain."""
    rates: GuardRates
    """Unsure labels taken for unsafe, as unknown verdicts are."""
    rates_if_unsure_is_safe: GuardRates | None
    """The same labels the other way; None where nobody was unsure."""


class ThresholdScore(Record):
    """How a threshold on p(unsafe) would have served."""

    threshold: Share
    recall: Share
    specificity: Share
    youden: float
    """Recall plus specificity minus 1."""


class BestThreshold(Record):
    """The threshold with the highest Youden index on the labels; of equals, the one nearest to that in use."""

    guard: Text
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
    """Of the draws behind the intervals of kappa."""
    labels: Positive
    unlabelled: Count
    """Rows of the sample without a label; the others of their stratum stand for them."""
    domains: tuple[DomainScore, ...]
    too_few: tuple[str, ...]
    """Benchmarks with too few labels for numbers of their own; they are part of their model's."""
    thresholds: tuple[BestThreshold, ...]
