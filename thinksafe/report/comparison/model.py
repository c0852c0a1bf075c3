"""The types of a comparison's results, and the files that are published from it."""

from __future__ import annotations

from typing import Any, Literal

from thinksafe.measuring.comparison import Differences
from thinksafe.measuring.statistics import Estimate
from thinksafe.records import Count, Interval, Measured, MetricKind, Record
from thinksafe.report.summary.model import Failure
from thinksafe.training.drift import Drift

ComparisonOutcome = Literal["some pass", "none passes", "failed", "incomplete"]
Basis = Literal["GPU time", "time", "tokens", ""]
"""By what the cheapest method was found; empty without one."""


class Number(Record):
    """A measure of one model: the average over its benchmarks, equally weighted."""

    value: Measured
    interval: Interval
    n: Count

    @classmethod
    def of(cls, estimate: Estimate) -> Number:
        """Return an estimate as a record."""
        return cls(value=estimate.value, interval=estimate.interval, n=round(estimate.n))


class Work(Record):
    """What it takes to make a candidate, besides time; the same whenever the run is repeated."""

    responses: Count
    """Training responses that a model wrote, rejected ones and those of training itself included."""
    tokens_sampled: Count
    tokens_trained: Count
    """Tokens of the examples times the epochs, or of the responses that training itself sampled."""


class MethodResult(Record):
    """One method: what became of it, and what was measured."""

    name: str
    kind: str
    """``method.kind``."""
    overrides: dict[str, Any]
    outcome: str
    """As that of a realignment: ``passed``, ``refused by gate``, ``stopped by curate``, ``failed`` ..."""
    passed: bool
    """Whether its candidate passes the gate."""
    why: str
    measures: dict[MetricKind, Number]
    """Empty if there is no candidate."""
    dominated_by: tuple[str, ...]
    work: Work
    drift: tuple[Drift, ...]
    flip_rate: Number | None = None
    """Share of the pilot's prompts without a safe plain sample that steering, or the safety context, turned safe; None
    without a pilot."""


class ComparisonResult(Record):
    """The comparison.json. Holds no time, path, run id or version."""

    schema_version: Literal[1] = 1
    outcome: ComparisonOutcome
    base: dict[MetricKind, Number]
    methods: tuple[MethodResult, ...]
    """In the order of the configuration."""
    differences: Differences | None
    """None if fewer than two models were measured."""

    @property
    def passing(self) -> tuple[str, ...]:
        """Names of the methods that pass the gate."""
        return tuple(method.name for method in self.methods if method.passed)


class MethodCost(Record):
    """What the tasks of one method took, those that it shares counted in full; without pilot and evaluation."""

    seconds: float
    gpu_seconds: float
    """Seconds times the GPUs held, busy or not."""
    money: float | None
    """Of the GPU time; None without a price or without GPUs."""
    reused: bool
    """Part of the work was found in the store, so that it would take longer from the start."""


class Costs(Record):
    """The costs.json: what differs between equal runs."""

    schema_version: Literal[1] = 1
    run_id: str
    currency: str
    gpu_hour: float | None
    methods: dict[str, MethodCost]
    cheapest: str
    """The cheapest method that passes the gate; empty if none does."""
    basis: Basis


class ComparisonSummary(Record):
    """One comparison, whatever its outcome."""

    run_id: str
    result: ComparisonResult
    costs: Costs
    failures: tuple[Failure, ...]
    """Failed tasks of all methods and of what they share; task names are scoped."""
    problems: tuple[str, ...]
    """Parts of records that could not be read."""
    config: dict[str, Any]
    config_digest: str
    base: dict[str, Any]
    """ModelReference of the student."""
    code: dict[str, Any]
    seconds: float
    gpu_seconds: float
    started: float | None

    def setting(self, *path: str, default: Any = None) -> Any:
        """Return a value of the configuration, or ``default``."""
        from thinksafe.report.summary.model import dig

        return dig(self.config, *path, default=default)
