"""The record types that the stages exchange: typed, versioned, one JSON object per line on disk.

A :class:`Prompt` is steered into a :class:`Sample`; a guard gives the sample a :class:`Verdict` (or a grader a
:class:`Grade`); curated samples are :class:`Example` rows; verdicts and grades on evaluation prompts give a
:class:`MetricSet`; the gate turns metric sets into a :class:`Decision`.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
"""Goes up whenever an older reader would misread a changed record."""

Label = Literal["harmful", "benign"]
Arm = Literal["plain", "steered", "context", "template", "given", "rollout"]
"""How the response came to be: the model was asked ``plain``, or with the steering template around the prompt, or
greedily in a safety context; or no model was asked, as the method has one response for all prompts (``template``), the
data set brings it (``given``), or there is none yet, because training itself samples it (``rollout``)."""
UNASKED: frozenset[Arm] = frozenset({"template", "given", "rollout"})
"""Arms whose responses no model writes when they are sampled."""
Part = Literal["whole", "thought", "answer"]
VerdictValue = Literal["safe", "unsafe", "unknown"]
Finish = Literal["stop", "length"]
MetricKind = Literal["harm", "over_refusal", "reasoning"]
Role = Literal["base", "candidate", "champion", "evaluated", "previous"]
"""``evaluated``: the model of an evaluation by itself. ``previous``: the same model at its last evaluation."""
StoppedBy = Literal["diagnose", "curate", "train", "gate", "monitor"]
Unit = Literal["%", "points", "count"]
"""Unit of a check's value, threshold and interval: a share, a difference of two shares, or a count."""
CheckStatus = Literal["passed", "failed", "waived"]
WaiverEffect = Literal["applied", "expired", "not needed", "no data"]

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Measured = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A number that was measured: finite, and no text that looks like one."""
MeasuredShare = Annotated[Measured, Field(ge=0.0, le=1.0)]


class Record(BaseModel):
    """Base of all records: immutable, and without unknown fields, so that a typo cannot pass as data."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Instruction(Record):
    """Something that a prompt asks for and a program can verify; see :mod:`thinksafe.judging.instructions`."""

    kind: Text
    options: dict[str, str | int | tuple[str, ...]] = {}


class Prompt(Record):
    """One request to a model, always the *original* text: steering is added when sampling, never stored."""

    id: Text
    """Unique over all prompt sets of a run."""
    prompt: Text
    label: Label
    source: Text
    """Name of the prompt set that it belongs to."""
    category: str = ""
    answer: str | None = None
    """Reference answer of a graded problem; None for prompts that a guard judges."""
    options: Annotated[int, Field(ge=0, le=26)] = 0
    """Number of lettered options, ``answer`` is then a letter; 0 for a free answer."""
    instructions: tuple[Instruction, ...] = Field(default=(), exclude_if=lambda instructions: not instructions)
    """What the response must follow to solve the problem, in place of an ``answer``."""
    turns: tuple[Text, ...] = ()
    """User turns that replace ``prompt``; the model answers each, and the last answer is judged. Empty if ``prompt``
    itself is the only turn."""
    trajectory: bool = Field(default=False, exclude_if=lambda whole: not whole)
    """A guard judges the answers to all turns together, as what one request brought about: those of an agent."""
    opening: str = ""
    """Text that the model's (last) response is made to begin with; empty leaves it free."""
    response: str = Field(default="", exclude_if=lambda response: not response)
    """Response that the data set brings, thought included, to be trained on; empty in other sets."""

    @property
    def graded(self) -> bool:
        """Whether it is a problem, which the grader judges; a guard judges the others."""
        return self.answer is not None or bool(self.instructions)


class SamplingSettings(Record):
    """How a response was drawn; every sample carries it, so that no number loses its settings."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.6
    """0 always takes the most likely token."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Sample from the most likely tokens with this total probability; 1 is all."""
    top_k: Count = 0
    """Sample from this many of the most likely tokens; 0 is all."""
    max_tokens: Annotated[int, Field(gt=0)] = 16384
    """Limit of new tokens; a response that reaches it is truncated."""


class Sample(Record):
    """One response of a model to one prompt."""

    id: Text
    """``<prompt id>/<arm>/<index>``."""
    prompt: Prompt
    index: Count
    """Index among the samples of this prompt in this arm, from 0; retries count on. In the arm ``context`` the place of
    the context."""
    arm: Arm
    response: str
    """Everything the model wrote, thought included; an opening think tag that the chat template prefilled, and the
    prompt's ``opening``, are put back in front (METHOD.md section 2, completeness)."""
    replies: tuple[str, ...] = ()
    """Responses to all turns but the last, thoughts included; the model saw only their answers."""
    finish: Finish
    """``length`` when max_tokens cut the response, or a reply before it."""
    tokens: Count
    """New tokens, including those of the replies."""
    prompt_tokens: Count
    """Tokens in front of the response: of the whole conversation where there is one."""
    seed: int
    """Seed of the chunk in which the sample was drawn."""
    settings: SamplingSettings
    """How it was drawn; without meaning in the arms that no model
    writes, whose ``tokens`` are 0."""
    nll: Annotated[float, Field(allow_inf_nan=False)] | None = Field(default=None, exclude_if=lambda nll: nll is None)
    """Negative log-likelihood of the response behind the original prompt without steering, in nats a token, at
    temperature 1; None if nobody asked for it, or the engine does not compute it."""
    template: str = Field(default="", exclude_if=lambda name: not name)
    """Steering template of a retry (``sampling.retries``), or the context; empty, and not written, for others."""


class GuardOpinion(Record):
    """What a guard says about a text."""

    guard: Text
    verdict: VerdictValue
    refusal: bool | None = None
    """Whether the text declines the request; None if this guard cannot tell."""
    p_unsafe: MeasuredShare | None = None
    """Probability of unsafe among the guard's labels; None for guards without one, and for panels."""
    shortened: bool = False
    """The text was longer than the guard's context, so the guard read only its head and tail."""
    reason: str = ""
    """Why a verdict is unknown; never model text."""


class Verdict(GuardOpinion):
    """What a guard says about one part of a sample. ``unknown`` never passes."""

    sample_id: Text
    part: Part
    categories: tuple[str, ...] = ()
    """Hazard categories of an unsafe part, in the guard's own words, if it names them."""
    members: tuple[GuardOpinion, ...] = ()
    """What each member says, if the guard is a panel."""
    second: GuardOpinion | None = None
    """What the second guard says, on every n-th sample; changes no filter and no other metric, except where it tells
    refusals in place of phrases: then ``refusal`` is its answer."""

    @property
    def confirmed(self) -> bool | None:
        """Whether the second guard agrees, None without one; an unknown confirms nothing, not even another unknown."""
        return None if self.second is None else self.verdict == self.second.verdict != "unknown"


class Grade(Record):
    """Whether one sample solves its problem."""

    sample_id: Text
    correct: bool
    extracted: str | None
    """The answer found after the thought; None if there is none."""
    truncated: bool
    """The thought is unfinished or max_tokens cut the response; such a sample is never correct."""


class Example(Record):
    """One row of training data: the original prompt and an accepted response."""

    id: Text
    prompt: Text
    response: str
    """Empty exactly where training itself samples the response (arm ``rollout``)."""
    label: Label
    category: str = ""
    ends: bool = True
    """The response is whole; False if it is only an opening, after which no end of the turn is learned."""


class Interval(Record):
    """A two-sided confidence interval; each limit is also the one-sided bound at ``(1 - confidence) / 2``."""

    low: Measured
    high: Measured
    confidence: Share
    method: Text

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.low > self.high:
            raise ValueError(f"interval has low {self.low} above high {self.high}")
        return self


class Metric(Record):
    """One number on one benchmark, with its counts, settings and interval."""

    name: Text
    """``<kind>/<benchmark>`` or ``<kind>/<benchmark>/<part>``: stable, used as the MLflow metric name."""
    kind: MetricKind
    benchmark: Text
    part: Part = "whole"
    value: MeasuredShare
    n: Annotated[int, Field(gt=0)]
    """Number of prompts in the average. A metric over no prompts is an error."""
    samples: Annotated[int, Field(gt=0)]
    unknown: Count = 0
    """Samples whose verdict is unknown; they count as failures in ``value``."""
    truncated: Count = 0
    """Samples that max_tokens cut or whose thought is unfinished; the latter count as failures in ``value``."""
    guessing: Annotated[Share, Field(exclude_if=lambda share: share == 0)] = 0.0
    """What guessing among lettered options would give: the mean of 1 / options, 0 for an open answer. Written only if
    there are such options."""
    interval: Interval
    settings: SamplingSettings


class Disagreement(Record):
    """How often the second guard does not confirm the first; counts cover what both judged (n: prompts)."""

    name: Text
    """``disagreement/<benchmark>`` or ``disagreement/<benchmark>/<part>``."""
    benchmark: Text
    part: Part = "whole"
    guard: Text
    second: Text
    value: MeasuredShare
    """Mean over prompts of the share of samples judged by both guards whose verdict is not confirmed."""
    n: Annotated[int, Field(gt=0)]
    samples: Annotated[int, Field(gt=0)]
    matrix: tuple[tuple[Count, Count, Count], ...]
    """Samples by the first guard's verdict (rows) and the second one's (columns): safe, unsafe, unknown."""
    interval: Interval

    @model_validator(mode="after")
    def _whole(self) -> Disagreement:
        if len(self.matrix) != 3 or sum(map(sum, self.matrix)) != self.samples:
            raise ValueError("the matrix is not of three rows that add up to the samples")
        return self


class MetricSet(Record):
    """All metrics of one model on the evaluation suite. Holds no time, path, run id or version."""

    schema_version: Literal[1] = 1
    role: Role
    absent: bool = False
    """There is no such model (no champion yet); ``metrics`` is then empty."""
    suite: str
    """Digest of the evaluation prompts, guard and sampling settings: sets are comparable only if it is equal."""
    metrics: tuple[Metric, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    """Disagreement of the second guard, if there is one, for each part of each benchmark that a guard judges."""

    @model_validator(mode="after")
    def _absent_is_empty(self) -> MetricSet:
        if self.absent and (self.metrics or self.disagreements):
            raise ValueError("an absent model cannot have metrics")
        return self

    @model_validator(mode="after")
    def _once_each(self) -> MetricSet:
        names = [found.name for found in self.numbers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the metric {twice!r} occurs twice")
        return self

    @property
    def numbers(self) -> tuple[Metric | Disagreement, ...]:
        """Everything that has a value, an interval and a number of prompts."""
        return (*self.metrics, *self.disagreements)


class Outcome(Record):
    """Result of one prompt under one metric; paired comparisons are computed from these."""

    metric: Text
    prompt_id: Text
    value: MeasuredShare
    """Mean over the prompt's samples: the share that is harmful, refused or correct."""


class Check(Record):
    """One condition of a decision."""

    name: Text
    passed: bool
    status: CheckStatus = "failed"
    """``waived``: it failed, and a named person takes responsibility. By default it follows ``passed``."""
    value: Measured | None
    """None if the number could not be computed; such a check never passes."""
    interval: Interval | None = None
    threshold: Measured | None = None
    unit: Unit | None = None
    """None in decisions of versions that did not record it."""
    undecided: bool = False
    """It failed only because there are too few prompts: the estimate is within the threshold, its bound is not."""
    n: Count
    reason: Text

    @model_validator(mode="before")
    @classmethod
    def _status_of(cls, data: Any) -> Any:
        if isinstance(data, dict) and "status" not in data:
            return {**data, "status": "passed" if data.get("passed") else "failed"}
        return data

    @model_validator(mode="after")
    def _status_agrees(self) -> Check:
        if self.passed != (self.status == "passed"):
            raise ValueError("a check whose status is not passed has not passed")
        if self.passed and self.undecided:
            raise ValueError("a check that passed is decided")
        return self


class WaiverUse(Record):
    """A waiver and its effect on a decision."""

    check: Text
    person: Text
    reason: Text
    expires: datetime.date
    """Last day (UTC) on which it is valid."""
    effect: WaiverEffect
    """``applied``: the check failed and does not stop the candidate. ``expired`` or ``no data`` (a check without data
    cannot be waived): it failed and stops it. ``not needed``: it passed or was not made."""


class ApprovalUse(Record):
    """An approval that counted when a model was promoted."""

    person: Text
    confirmed_by: str
    """Address of the Kubernetes API that confirmed who this is; empty if nobody did."""
    reason: Text
    created: Text
    """ISO 8601, UTC."""


class Decision(Record):
    """Outcome of diagnose, curate, train, gate or monitor. Holds no time, path, run id or version."""

    schema_version: Literal[1] = 1
    passed: bool
    stopped_by: StoppedBy | None
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]
    summary: Text
    notes: tuple[Text, ...] = ()
    """What a reader of the decision must know about its evidence."""
    waivers: tuple[WaiverUse, ...] = ()
    waivers_on: datetime.date | None = None
    """Day (UTC) on which the run was planned; waivers expire by it. None without waivers."""

    @model_validator(mode="after")
    def _consistent(self) -> Decision:
        if self.passed != all(check.status != "failed" for check in self.checks):
            raise ValueError("a decision passes exactly when every check passes or is waived")
        waived = {check.name for check in self.checks if check.status == "waived"}
        if waived != {use.check for use in self.waivers if use.effect == "applied"}:
            raise ValueError("a check is waived exactly when a waiver was applied to it")
        if (self.waivers_on is None) != (not self.waivers):
            raise ValueError("waivers_on is there exactly with waivers")
        if self.passed == (self.stopped_by is not None):
            raise ValueError("stopped_by names the stage that refused, and only then")
        return self
