"""Several candidates side by side: paired differences with simultaneous intervals, and who dominates whom.

Every pair of models is compared on the same prompts, by the gate's paired method. The intervals are simultaneous: with
probability ``1 - 2 * alpha`` or more, all of them contain their true difference. Each has the level ``2 * alpha``
divided by the number of intervals (Bonferroni). A bootstrap of the largest deviation (max-t) would be narrower, but has
no width where no outcome varies, which is what a harm of zero looks like; Tango's and Bonett and Price's intervals keep
theirs at any level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal

from thinksafe.measuring.evidence import Evidence, NoEvidence, difference
from thinksafe.records import Count, Interval, Measured, MetricKind, Record

LOWER_IS_BETTER: dict[MetricKind, bool] = {"harm": True, "over_refusal": True, "reasoning": False}
"""The measures of a comparison."""

Better = Literal["first", "second", ""]


class Difference(Record):
    """One measure of two models: first minus second, averaged over its benchmarks with equal weights."""

    measure: MetricKind
    first: str
    second: str
    value: Measured
    interval: Interval
    """Simultaneous with all others of the comparison."""
    n: Count

    @property
    def better(self) -> Better:
        """The model that is better beyond the interval; empty if zero is in it."""
        if self.interval.low <= 0 <= self.interval.high:
            return ""
        lower = "first" if self.interval.high < 0 else "second"
        higher = "second" if lower == "first" else "first"
        return lower if LOWER_IS_BETTER[self.measure] else higher  # type: ignore[return-value]

    def turned(self) -> Difference:
        """Return the same difference with first and second exchanged."""
        return self.model_copy(
            update={
                "first": self.second, "second": self.first, "value": -self.value + 0.0,
                "interval": self.interval.model_copy(
                    update={"low": -self.interval.high + 0.0, "high": -self.interval.low + 0.0}
                ),
            }
        )


class Differences(Record):
    """All pairs of models by all measures."""

    intervals: Count
    """Size of the family: pairs times measures, whether or not each could be computed."""
    confidence: Measured
    """Two-sided confidence that all intervals hold at once."""
    found: tuple[Difference, ...]
    missing: tuple[str, ...] = ()
    """Why a difference could not be computed, one sentence each."""


def differences(
    models: Mapping[str, Evidence], names: Mapping[MetricKind, Sequence[str]], alpha: float
) -> Differences:
    """Return the differences between all pairs of models.

    Args:
        models: Evidence by name, in the order in which pairs are formed.
        names: Metrics that each measure averages.
        alpha: One-sided level of the gate; together the intervals have the two-sided confidence ``1 - 2 * alpha``.
    """
    pairs = list(combinations(models, 2))
    family = len(pairs) * len(names)
    found, missing = [], []
    for first, second in pairs:
        for measure, metrics in names.items():
            try:
                estimate = difference(models[first], models[second], metrics, 1 - 2 * alpha / family)(1.0)
            except NoEvidence as gap:
                missing.append(f"{measure} of {first} against {second}: {gap}.")
                continue
            interval = estimate.interval.model_copy(
                update={"method": f"{estimate.interval.method}; Bonferroni over {family}"}
            )
            found.append(
                Difference(
                    measure=measure, first=first, second=second, value=estimate.value, interval=interval,
                    n=round(estimate.n),
                )
            )
    return Differences(
        intervals=family, confidence=1 - 2 * alpha, found=tuple(found), missing=tuple(missing)
    )


def dominators(models: Iterable[str], found: Iterable[Difference]) -> dict[str, tuple[str, ...]]:
    """Return for each model the models that dominate it.

    One dominates another if it is better in at least one measure and worse in none, beyond the simultaneous intervals.
    A pair of which a measure is missing has no dominator. Two models never dominate each other.

    Args:
        models: Names, in the order in which dominators are listed.
        found: Differences between them.
    """
    verdicts: dict[tuple[str, str], list[Better]] = {}
    for one in found:
        verdicts.setdefault((one.first, one.second), []).append(one.better)
        verdicts.setdefault((one.second, one.first), []).append(one.turned().better)

    def dominates(one: str, other: str) -> bool:
        of = verdicts.get((one, other), [])
        return len(of) == len(LOWER_IS_BETTER) and "first" in of and "second" not in of

    order = list(models)
    return {name: tuple(other for other in order if other != name and dominates(other, name)) for name in order}
