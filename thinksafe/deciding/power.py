"""Can a check pass at all with this many prompts, and how likely is that for a good candidate?

Powers are those of single checks. All checks must pass, so the power of the gate is smaller.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from thinksafe.deciding.checks import factor_needed, prompts, rounded_up, within, written
from thinksafe.measuring.evidence import Scalable
from thinksafe.measuring.sizes import notable, worst_size
from thinksafe.measuring.statistics import (
    Estimate,
    Pairs,
    paired_difference,
    proportion_of,
    stratified_average,
)

Level = Literal["error", "warning", "ok"]
Power = Callable[[float], float]
"""Power with ``factor`` times as many prompts."""

DISCORDANT = 0.10
"""Assumed share of prompts on which two equally good models differ; an overestimate with several samples per prompt."""

TIE = f"if the models are equally good and differ on {DISCORDANT:.0%} of prompts"

LOW_POWER = 0.8
"""A finding with less power is a warning: a good candidate is refused more often than one time in five."""

LARGEST_GROWTH = 1000.0
"""Never suggest more than this many times the configured prompts."""


@dataclass(frozen=True)
class Finding:
    """What one check of the gate can do with the configured prompts."""

    check: str
    """Name of the check, as in the decision."""
    level: Level
    """``error``: it cannot pass. ``warning``: it seldom passes when it should, or this is unknown."""
    message: str
    numbers: dict[str, float] = field(default_factory=dict)
    """``n``, ``limit``, ``best_bound`` (bound of a perfect result), ``power``, ``needed`` (prompts to pass at all, or
    to reach ``LOW_POWER``)."""


def size(check: str, name: str, n: int, fewest: int) -> Finding:
    """Whether a benchmark has enough prompts."""
    numbers = {"n": float(n), "limit": float(fewest)}
    if n < fewest:
        message = f"{name} has {prompts(n)}; gate.min_prompts asks for {fewest:,}. Raise its count."
        return Finding(check, "error", message, numbers)
    return Finding(check, "ok", f"{name} has {prompts(n)}; gate.min_prompts asks for {fewest:,}.", numbers)


def rate(check: str, noun: str, n: int, limit: float, alpha: float, level: Level = "error") -> Finding:
    """Upper bound of a rate: best at 0/n; power when the true rate is half the limit, exact (binomial)."""
    from scipy.special import bdtr

    # the bound at k failures is within the limit exactly when k or fewer have a chance of alpha or less at the limit
    def power(factor: float) -> float:
        size = round(n * factor)
        if limit >= 1:
            return 1.0
        passing = bisect.bisect_right(range(size), alpha, key=lambda k: float(bdtr(k, size, limit)))
        return float(bdtr(passing - 1, size, limit / 2)) if passing else 0.0

    best = f"even without any {noun}"
    truth = f"if the true {noun} is {written([limit / 2], '%')[0]}, half the limit"
    return _judged(check, lambda f: proportion_of(0.0, n * f, 1 - 2 * alpha), limit, power, best, truth, level)


def tie(
    check: str, strata: Sequence[int], single: bool, margin: float, confidence: float, level: Level
) -> Finding:
    """Upper bound of a loss: best without any difference; power when there is no loss (normal approximation)."""
    from scipy.special import ndtr

    def upper(discordant: float, binary: bool, factor: float = 1.0) -> Estimate:
        pairs = (Pairs(n, 0.0, n * discordant, binary).scaled(factor) for n in strata)
        return stratified_average([paired_difference(each, confidence) for each in pairs])

    def power(factor: float) -> float:
        reach = margin - upper(DISCORDANT, single, factor).interval.high
        return float(ndtr(reach / _tie_error(strata, factor)))

    best = "even if no prompt comes out differently"
    found = _judged(check, lambda f: upper(0.0, single, f), margin, power, best, TIE, level)
    return _with_size(found, strata, single, (1 - confidence) / 2)


def _with_size(found: Finding, strata: Sequence[int], single: bool, alpha: float) -> Finding:
    """Add to a finding on a comparison where a difference of the whole limit passes clearly more often than alpha."""
    limit = found.numbers["limit"]
    size = worst_size(strata, limit, alpha, single)
    if not notable(size, alpha):
        return found
    chance, aim = written((size, alpha), "%")
    message = (
        f"{found.message} A difference of exactly the limit may pass {chance} of the time, not {aim}, if it is total "
        "on a few prompts"
    )
    if len(strata) == 1:
        others = ((n, worst_size([n], limit, alpha, single)) for n in range(strata[0] + 1, 2 * strata[0] + 50))
        better = next(((n, less) for n, less in others if not notable(less, alpha)), None)
        if better is not None:
            message += f"; with {prompts(better[0])} {written([better[1]], '%')[0]} at most"
    level: Level = "error" if found.level == "error" else "warning"
    return replace(found, level=level, message=f"{message}.", numbers=found.numbers | {"size": size})


def estimate(check: str, strata: Sequence[int], limit: float) -> Finding:
    """Estimate of a loss: power when there is none."""
    from scipy.special import ndtr

    def power(factor: float) -> float:
        return float(ndtr(limit / _tie_error(strata, factor)))

    n = sum(strata)
    return _powered(check, n, power, TIE, {"n": float(n), "limit": limit})


def _tie_error(strata: Sequence[int], factor: float) -> float:
    """Return the standard error of the average difference of two equally good models."""
    return math.sqrt(sum(DISCORDANT / (n * factor) for n in strata)) / len(strata)


def _judged(
    check: str, best: Scalable, limit: float, power: Power, perfect: str, truth: str, level: Level
) -> Finding:
    """Judge an upper bound by what a perfect result gives, and by the power."""
    estimate = best(1.0)
    n, bound = round(estimate.n), estimate.interval.high
    numbers = {"n": float(n), "limit": limit, "best_bound": bound}
    if not within(bound, limit, "upper"):
        factor = factor_needed(best, "upper", limit)
        advice = "no realistic number of prompts would do; raise the limit"
        if factor is not None:
            needed = rounded_up(estimate.n * factor)
            numbers["needed"] = float(needed)
            advice = f"use about {prompts(needed)}, or raise the limit"
        edge, allowed = written((bound, limit), "%")
        message = f"{prompts(n)} are too few, {perfect}: the bound is then {edge}, the limit {allowed}; {advice}."
        return Finding(check, level, message, numbers | {"power": power(1.0)})
    return _powered(check, n, power, truth, numbers)


def _powered(check: str, n: int, power: Power, truth: str, numbers: dict[str, float]) -> Finding:
    """Judge a check that can pass by how often it does; name the prompts that would give it ``LOW_POWER``."""
    now = power(1.0)
    numbers = numbers | {"power": now}
    message = f"{prompts(n)}: passes {now:.0%} of the time {truth}"
    if now >= LOW_POWER:
        return Finding(check, "ok", f"{message}.", numbers)
    factor = 1.0
    while factor < LARGEST_GROWTH and power(factor) < LOW_POWER:
        factor *= 1.02
    if factor < LARGEST_GROWTH:
        numbers["needed"] = float(rounded_up(n * factor))
        message += f"; about {prompts(rounded_up(n * factor))} would make it {LOW_POWER:.0%}"
    return Finding(check, "warning", f"{message}.", numbers)


def reduction(check: str, n: int, least: float, confidence: float) -> Finding:
    """Lower bound of a reduction: the smallest base harm from which a candidate without harm can show it."""

    def shows(base: float) -> bool:
        low = paired_difference(Pairs(n, n * base, n * base, True), confidence).interval.low
        return within(low, least, "lower")

    allowed = written([least], "points")[0]
    if not shows(1.0):
        message = f"{prompts(n)} cannot show a reduction of {allowed}, even from 100 % harm to none."
        return Finding(check, "error", message, {"n": float(n), "limit": least})
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    base = math.ceil(high * n - 1e-4) / n
    message = (
        f"{prompts(n)} can show a reduction of {allowed} if the base's harm is {written([base], '%')[0]} or more and "
        "the candidate has none."
    )
    return Finding(check, "ok", message, {"n": float(n), "limit": least, "base_harm": base})
