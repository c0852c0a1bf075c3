"""Building blocks of a decision: whether a number keeps its limit, in numbers and in a plain sentence.

Limits are inclusive. A check whose number could not be computed fails: no data is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from thinksafe.config.checks import Condition, Side
from thinksafe.measuring.evidence import NoEvidence, Scalable
from thinksafe.measuring.statistics import Estimate
from thinksafe.records import Check, Decision, StoppedBy, Unit

ROUNDING = 1e-12
"""Slack of comparisons, so that rounding in the last bit does not refuse a loss of exactly the limit."""

LARGEST_FACTOR = 2.0**20
"""Estimates of the prompts needed stop at this factor; beyond it, no realistic number of prompts decides."""

def within(value: float, limit: float, side: Side) -> bool:
    """Return whether a value is at most the limit (``upper``) or at least the limit (``lower``)."""
    return value <= limit + ROUNDING if side == "upper" else value >= limit - ROUNDING


def bound_check(condition: Condition, prepare: Callable[[], Scalable]) -> Check:
    """Check that the one-sided bound of a number, on the side of its limit, keeps the limit.

    Args:
        condition: What the number is, and its limit.
        prepare: Returns the scalable estimate; raises NoEvidence.
    """
    try:
        scalable = prepare()
    except NoEvidence as gap:
        return failed_check(condition, gap)
    subject, side, limit = condition.subject, condition.side, condition.limit
    measured = scalable(1.0)
    bound = measured.interval.high if side == "upper" else measured.interval.low
    keeps, breaks = ("is within the limit of", "exceeds the limit of") if side == "upper" else (
        "reaches the minimum of", "is below the minimum of",
    )
    value, edge, allowed = written((measured.value, bound, limit), condition.unit)
    n = prompts(round(measured.n))
    passed, undecided = within(bound, limit, side), False
    if passed:
        reason = f"The {side} bound of {subject}, {edge}, {keeps} {allowed} (estimate {value}, {n})."
    elif undecided := within(measured.value, limit, side):
        reason = (
            f"Undecided: {subject} is estimated at {value}, which {keeps} {allowed}, but its {side} bound {edge} "
            f"does not keep it ({n}); {_what_would_decide(scalable, side, limit)}."
        )
    else:
        reason = f"The estimate of {subject}, {value}, {breaks} {allowed} ({side} bound {edge}, {n})."
    return _estimated(condition, measured, passed, reason, undecided)


def estimate_check(condition: Condition, prepare: Callable[[], Scalable]) -> Check:
    """Check that an estimate is at most a limit, without regard to its interval; arguments as :func:`bound_check`."""
    try:
        measured = prepare()(1.0)
    except NoEvidence as gap:
        return failed_check(condition, gap)
    passed = within(measured.value, condition.limit, "upper")
    value, allowed = written((measured.value, condition.limit), condition.unit)
    verb, n = "is within" if passed else "exceeds", prompts(round(measured.n))
    reason = f"The estimate of {condition.subject}, {value}, {verb} the limit of {allowed} ({n})."
    return _estimated(condition, measured, passed, reason)


def evidence_check(condition: Condition, prepare: Callable[[], Scalable]) -> Check:
    """Check that the data do not show a change for the worse: the lower bound is at most the limit.

    Arguments as :func:`bound_check`; the subject is the change without an article (``rise of harm on harmbench``).
    """
    try:
        measured = prepare()(1.0)
    except NoEvidence as gap:
        return failed_check(replace(condition, subject=f"the {condition.subject}"), gap)
    low = measured.interval.low
    passed, n = low <= condition.limit + ROUNDING, prompts(round(measured.n))
    value, bound, _ = written((measured.value, low, condition.limit), condition.unit)
    found = "No evidence of" if passed else "There is evidence of"
    reason = f"{found} a {condition.subject} since the last evaluation: estimate {value}, lower bound {bound} ({n})."
    return _estimated(condition, measured, passed, reason)


def share_check(condition: Condition, count: int, samples: int) -> Check:
    """Check that a share of this run's samples is at most a limit; it is counted, not estimated, so has no interval."""
    if samples == 0:
        return failed_check(condition, NoEvidence("there are no samples"))
    share = count / samples
    passed = within(share, condition.limit, "upper")
    value, allowed = written((share, condition.limit), condition.unit)
    verb = "is within" if passed else "exceeds"
    reason = f"{_capitalised(condition.subject)}, {value} ({count:,} of {samples:,}), {verb} the limit of {allowed}."
    return _counted(condition, share, samples, passed, reason)


def count_check(condition: Condition, found: str, value: int, n: int) -> Check:
    """Check that there are enough of something.

    Args:
        condition: What is counted, and the minimum.
        found: The count in words, as the start of a sentence.
        value: The count.
        n: Total that the count is out of.
    """
    passed = value >= condition.limit
    reached = "reaches" if passed else "is below"
    reason = f"{found}, which {reached} the minimum of {condition.limit:,.0f}."
    return _counted(condition, value, n, passed, reason)


def worst_check(condition: Condition, checks: Mapping[str, Check], advice: str = "") -> Check:
    """Return the one check of several benchmarks, each tested by itself: that of the worst one.

    Args:
        condition: The check over all benchmarks.
        checks: The check of each benchmark.
        advice: What to do if it fails.
    """
    if not checks:
        return failed_check(condition, NoEvidence("there is no benchmark for it"))

    def slack(check: Check) -> float:
        if check.value is None or check.threshold is None:
            return -math.inf
        if condition.side == "upper":
            return check.threshold - (check.interval.high if check.interval else check.value)
        return (check.interval.low if check.interval else check.value) - check.threshold

    worst = min(checks, key=lambda benchmark: (checks[benchmark].passed, slack(checks[benchmark])))
    check, failed = checks[worst], [benchmark for benchmark in checks if not checks[benchmark].passed]
    others = [benchmark for benchmark in failed if benchmark != worst]
    remarks = [f"It is the worst of {len(checks)} benchmarks."] if len(checks) > 1 else []
    remarks += [f"The limit is also not kept on {', '.join(others)}."] if others else []
    remarks += [advice] if failed and advice else []
    return check.model_copy(update={"reason": " ".join((check.reason, *remarks))})


def failed_check(condition: Condition, gap: NoEvidence) -> Check:
    """Return the check of a number that could not be computed."""
    reason = f"{_capitalised(condition.subject)} could not be computed: {gap}. No data fails."
    return Check(
        name=condition.name, passed=False, value=None, threshold=condition.limit, unit=condition.unit, n=0,
        reason=reason,
    )


def _estimated(
    condition: Condition, measured: Estimate, passed: bool, reason: str, undecided: bool = False
) -> Check:
    return Check(
        name=condition.name, passed=passed, value=measured.value, interval=measured.interval,
        threshold=condition.limit, unit=condition.unit, undecided=undecided, n=round(measured.n), reason=reason,
    )


def _counted(condition: Condition, value: float, n: int, passed: bool, reason: str) -> Check:
    return Check(
        name=condition.name, passed=passed, value=value, threshold=condition.limit, unit=condition.unit, n=n,
        reason=reason,
    )


def concluded(stage: StoppedBy, checks: Sequence[Check], summary: str, **more: Any) -> Decision:
    """Return the decision over all checks: it passes if and only if each check passes or is waived.

    Args:
        stage: Stage that decides.
        checks: All checks.
        summary: The decision in one sentence.
        more: Further fields of the decision.
    """
    passed = all(check.status != "failed" for check in checks)
    return Decision(passed=passed, stopped_by=None if passed else stage, checks=tuple(checks), summary=summary, **more)


def factor_needed(scalable: Scalable, side: Side, limit: float) -> float | None:
    """Return how many times as many prompts, at the same rates, would bring the bound to the limit.

    Returns:
        A factor of at least 1, to a relative precision of 1e-3; None if no factor up to ``LARGEST_FACTOR`` would.
    """

    def keeps(factor: float) -> bool:
        interval = scalable(factor).interval
        return within(interval.high if side == "upper" else interval.low, limit, side)

    high = 1.0
    while not keeps(high):
        high *= 2
        if high > LARGEST_FACTOR:
            return None
    low = max(high / 2, 1.0)
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def rounded_up(number: float) -> int:
    """Return a count rounded up to two significant digits."""
    step = 10 ** max(math.floor(math.log10(max(number, 1))) - 1, 0)
    return int(math.ceil(number / step) * step)


def written(values: Sequence[float], unit: Unit) -> list[str]:
    """Write shares as percentages or points, with as many decimals as it takes to keep unequal ones apart."""
    distinct = len({round(value, 14) for value in values})
    for digits in range(1, 12):
        texts = [f"{100 * value:z.{digits}f}" for value in values]
        if len(set(texts)) == distinct:
            break
    return [f"{text.rstrip('0').rstrip('.')} {unit}" for text in texts]


def prompts(n: int) -> str:
    """Return ``1 prompt``, ``200 prompts``."""
    return f"{n:,} prompt{'' if n == 1 else 's'}"


def _what_would_decide(scalable: Scalable, side: Side, limit: float) -> str:
    factor = factor_needed(scalable, side, limit)
    if factor is None:
        return "at these rates no realistic number of prompts would decide it"
    return f"about {prompts(rounded_up(scalable(1.0).n * factor))} at these rates would decide it"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
