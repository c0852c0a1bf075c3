"""Can the gate pass at all with so many prompts, and how likely is it when the candidate is good?

Computed from the configuration alone, before anything is sampled: ``thinksafe config check`` prints the findings and
refuses the errors. Powers are of single checks; all of them must hold, so the gate's own power is smaller.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from thinksafe.config.model import RealignmentConfig
from thinksafe.deciding.checks import factor_needed, prompts, rounded_up, within, written
from thinksafe.measuring.evidence import Scalable
from thinksafe.measuring.statistics import (
    Estimate,
    Pairs,
    paired_difference,
    proportion_of,
    stratified_average,
)
from thinksafe.records import MetricKind

Level = Literal["error", "warning", "ok"]
Power = Callable[[float], float]
"""Power with ``factor`` times as many prompts."""

DISCORDANT = 0.10
"""Assumed share of prompts on which two equally good models differ; an overestimate with several samples a prompt."""

TIE = f"if the models are equally good and differ on {DISCORDANT:.0%} of prompts"

LOW_POWER = 0.8
"""Below it a finding is a warning: a good candidate is refused more often than one time in five."""

LARGEST_GROWTH = 1000.0
"""More prompts than so many times the configured ones are not suggested."""


@dataclass(frozen=True)
class Finding:
    """What one check of the gate can do with the configured prompts."""

    check: str
    """Name of the check, as in the decision."""
    level: Level
    """``error``: it cannot pass. ``warning``: it seldom passes when it should, or this cannot be told."""
    message: str
    numbers: dict[str, float] = field(default_factory=dict)
    """``n``, ``limit``, ``best_bound`` (bound of a perfect result), ``power``, ``needed`` (prompts to pass at all, or
    with ``LOW_POWER``)."""


def gate_feasibility(config: RealignmentConfig, available: Mapping[str, int] | None = None) -> list[Finding]:
    """Return a finding for every check of diagnose and the gate that depends on a number of prompts.

    Args:
        config: The configuration.
        available: Prompts that each benchmark has, by name, where known; used for benchmarks without a count.
    """
    gate, alpha = config.gate, config.gate.alpha
    confidence = 1 - 2 * alpha
    findings: list[Finding] = []
    sizes: dict[MetricKind, dict[str, int]] = {"harm": {}, "over_refusal": {}, "reasoning": {}}
    for benchmark in config.evaluation.gated:
        known = (available or {}).get(benchmark.name)
        n = benchmark.size or known
        check = f"min_prompts/{benchmark.name}"
        if n is None:
            findings.append(Finding(check, "warning", f"How many prompts {benchmark.name} has is not known yet."))
            continue
        sizes[benchmark.metric][benchmark.name] = n
        if known is not None and known < n:
            message = f"{benchmark.name} has {prompts(known)}, fewer than the {n:,} that its count asks for."
            findings.append(Finding(check, "error", message, {"n": float(known), "needed": float(n)}))
        else:
            findings.append(_size(check, benchmark.name, n, gate.min_prompts))
    for name, n in sizes["harm"].items():
        findings.append(_rate(f"harm/{name}", "harm", n, gate.harm.max, alpha))
        findings.append(_reduction(f"harm_reduction/{name}", n, gate.harm.min_reduction, confidence))
    for name, n in sizes["over_refusal"].items():
        findings.append(_rate(f"over_refusal/{name}", "over-refusal", n, gate.over_refusal.max, alpha))
    # a perfect tie with the base must be able to pass; a champion may have to be beaten, so that is a warning
    single = config.evaluation.n == 1
    for name, n in sizes["harm"].items():
        findings.append(_tie(f"champion/harm/{name}", [n], single, gate.champion.harm_margin, confidence, "warning"))
    for name, n in sizes["over_refusal"].items():
        margin = gate.champion.over_refusal_margin
        findings.append(_tie(f"champion/over_refusal/{name}", [n], single, margin, confidence, "warning"))
    strata, single = list(sizes["reasoning"].values()), config.evaluation.n_reasoning == 1
    for name, n in sizes["reasoning"].items() if len(strata) > 1 else ():
        rail = gate.reasoning.guard_rail
        findings.append(_tie(f"reasoning/guard_rail/{name}", [n], single, rail, confidence, "error"))
    if len(strata) == sum(benchmark.metric == "reasoning" for benchmark in config.evaluation.gated):
        limits, margin = gate.reasoning, gate.champion.reasoning_margin
        findings += [
            _tie("reasoning/margin", strata, single, limits.margin, confidence, "error"),
            _estimate("reasoning/loss", strata, limits.max_loss),
            _tie("champion/reasoning", strata, single, margin, confidence, "warning"),
        ]
    return findings + list(_second_guard(config, sizes["harm"])) + list(_steerability(config))


def _size(check: str, name: str, n: int, fewest: int) -> Finding:
    numbers = {"n": float(n), "limit": float(fewest)}
    if n < fewest:
        message = f"{name} has {prompts(n)}; gate.min_prompts asks for {fewest:,}. Raise its count."
        return Finding(check, "error", message, numbers)
    return Finding(check, "ok", f"{name} has {prompts(n)}; gate.min_prompts asks for {fewest:,}.", numbers)


def _rate(check: str, noun: str, n: int, limit: float, alpha: float, level: Level = "error") -> Finding:
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


def _tie(
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
    return _judged(check, lambda f: upper(0.0, single, f), margin, power, best, TIE, level)


def _estimate(check: str, strata: Sequence[int], limit: float) -> Finding:
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
    """Judge an upper bound by what a perfect result gives and by the power."""
    estimate = best(1.0)
    n, bound = round(estimate.n), estimate.interval.high
    numbers = {"n": float(n), "limit": limit, "best_bound": bound}
    if not within(bound, limit, "upper"):
        factor = factor_needed(best, "upper", limit)
        advice = "no realistic number of prompts would do; raise the limit"
        if factor is not None:
            needed = rounded_up(estimate.n * factor)
            numbers["needed"] = float(needed)
            advice = f"it takes about {prompts(needed)}, or a higher limit"
        edge, allowed = written((bound, limit), "%")
        message = f"{prompts(n)} are too few, {perfect}: the bound is then {edge}, the limit {allowed}; {advice}."
        return Finding(check, level, message, numbers | {"power": power(1.0)})
    return _powered(check, n, power, truth, numbers)


def _powered(check: str, n: int, power: Power, truth: str, numbers: dict[str, float]) -> Finding:
    """Judge a check that can pass by how often it does; name the prompts that would make it ``LOW_POWER``."""
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


def _reduction(check: str, n: int, least: float, confidence: float) -> Finding:
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


def _second_guard(config: RealignmentConfig, harm: Mapping[str, int]) -> Iterable[Finding]:
    """Check the second guard's limits on the prompts that it is expected to read."""
    from scipy.special import bdtr

    second, limits = config.guard.second, config.gate.second_guard
    if second is None or len(harm) < sum(benchmark.metric == "harm" for benchmark in config.evaluation.gated):
        return
    every, check = sum(harm.values()), "second_guard/min_prompts"
    # of several samples of a prompt any one makes it a prompt that was judged twice
    chance = 1 - (1 - 1 / second.every_n) ** config.evaluation.n
    n = round(every * chance)
    numbers = {"n": float(n), "limit": float(limits.min_prompts)}
    message = f"Of {prompts(every)} the second guard reads about {n:,}; the minimum is {limits.min_prompts:,}"
    short = float(bdtr(limits.min_prompts - 1, every, chance))
    if n < limits.min_prompts:
        yield Finding(check, "error", f"{message}. Lower guard.second.every_n.", numbers)
    elif short > 1 - LOW_POWER:
        yield Finding(check, "warning", f"{message}, and by chance there are fewer {short:.0%} of the time.", numbers)
    else:
        yield Finding(check, "ok", f"{message}.", numbers)
    if n:
        noun = "disagreement"
        yield _rate("second_guard/disagreement", noun, n, limits.max_disagreement, config.gate.alpha)


def _steerability(config: RealignmentConfig) -> Iterable[Finding]:
    """Check the diagnosis on its pilot; where it only warns, so does this."""
    diagnose = config.diagnose
    level: Level = "error" if diagnose.on_failure == "stop" else "warning"
    n, least = diagnose.prompts, diagnose.min_acceptance
    yield _rate("steerability/acceptance", "rejection of steered samples", n, 1 - least, diagnose.alpha, level)
    flips, check = diagnose.min_flip_rate, "steerability/flip_rate"
    # at k of k flipped the lower bound is alpha ** (1 / k)
    needed = 1 if flips == 0 else math.inf if flips == 1 else math.log(diagnose.alpha) / math.log(flips)
    if needed > n:
        message = f"A pilot of {prompts(n)} cannot show a flip rate of {written([flips], '%')[0]}; raise it."
        yield Finding(check, level, message, {"n": float(n), "limit": flips})
    else:
        message = f"Needs an unsafe plain sample for at least {prompts(math.ceil(needed))} of {n:,}."
        yield Finding(check, "ok", message, {"n": float(n), "limit": flips, "needed": float(math.ceil(needed))})
