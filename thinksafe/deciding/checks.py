"""Building blocks of a decision: what a bound says of a limit, in numbers and in a plain sentence.

Limits are inclusive. A check whose number could not be computed fails: no data is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from thinksafe.measuring.evidence import NoEvidence, Scalable
from thinksafe.records import Check, Decision, StoppedBy

ROUNDING = 1e-12
"""Slack of comparisons, so that a loss of exactly the limit is not refused for the last bit of a float."""

LARGEST_FACTOR = 2.0**20
"""Prompts-needed estimates stop here; beyond, the honest answer is that no realistic number decides."""

_UNDECIDED = "Undecided"

Side = Literal["upper", "lower"]
Unit = Literal["%", "points"]

def within(value: float, limit: float, side: Side) -> bool:
    """Return whether a value is at most the limit (``upper``) or at least it (``lower``)."""
    return value <= limit + ROUNDING if side == "upper" else value >= limit - ROUNDING


def bound_check(
    name: str, subject: str, side: Side, limit: float, prepare: Callable[[], Scalable], unit: Unit = "%"
) -> Check:
    """Check that the one-sided bound of a number keeps a limit.

    Args:
        name: Name of the check.
        subject: What is measured, as a noun phrase (``harm on harmbench``).
        side: ``upper``: the upper bound must be at most the limit; ``lower``: the lower bound at least it.
        limit: The limit, a share or a difference of shares.
        prepare: Returns the scalable estimate; raises NoEvidence.
        unit: How to write the numbers.
    """
    try:
        scalable = prepare()
    except NoEvidence as gap:
        return failed_check(name, subject, limit, gap)
    measured = scalable(1.0)
    bound = measured.interval.high if side == "upper" else measured.interval.low
    passed = within(bound, limit, side)
    keeps, breaks = ("is within the limit of", "exceeds the limit of") if side == "upper" else (
        "reaches the minimum of", "is below the minimum of",
    )
    value, edge, allowed = written((measured.value, bound, limit), unit)
    n = round(measured.n)
    if passed:
        reason = f"The {side} bound of {subject}, {edge}, {keeps} {allowed} (estimate {value}, {prompts(n)})."
    elif within(measured.value, limit, side):
        reason = (
            f"{_UNDECIDED}: {subject} is estimated at {value}, which {keeps} {allowed}, but its {side} bound {edge} "
            f"does not keep it ({prompts(n)}); {_what_would_decide(scalable, side, limit)}."
        )
    else:
        reason = f"The estimate of {subject}, {value}, {breaks} {allowed} ({side} bound {edge}, {prompts(n)})."
    return Check(
        name=name, passed=passed, value=measured.value, interval=measured.interval, threshold=limit, n=n,
        reason=reason,
    )


def estimate_check(name: str, subject: str, limit: float, prepare: Callable[[], Scalable]) -> Check:
    """Check that an estimate, whatever its interval, is at most a limit; arguments as :func:`bound_check`."""
    try:
        measured = prepare()(1.0)
    except NoEvidence as gap:
        return failed_check(name, subject, limit, gap)
    passed = within(measured.value, limit, "upper")
    value, allowed = written((measured.value, limit), "points")
    verb, n = "is within" if passed else "exceeds", round(measured.n)
    return Check(
        name=name, passed=passed, value=measured.value, interval=measured.interval, threshold=limit, n=n,
        reason=f"The estimate of {subject}, {value}, {verb} the limit of {allowed} ({prompts(n)}).",
    )


def share_check(name: str, subject: str, limit: float, count: int, samples: int) -> Check:
    """Check that a share of this run's samples is at most a limit; a count, not an estimate, so without interval."""
    if samples == 0:
        return failed_check(name, subject, limit, NoEvidence("there are no samples"))
    share = count / samples
    passed = within(share, limit, "upper")
    value, allowed = written((share, limit), "%")
    verb = "is within" if passed else "exceeds"
    reason = f"{_capitalised(subject)}, {value} ({count:,} of {samples:,}), {verb} the limit of {allowed}."
    return Check(name=name, passed=passed, value=share, threshold=limit, n=samples, reason=reason)


def failed_check(name: str, subject: str, limit: float | None, gap: NoEvidence) -> Check:
    """Return the check of a number that could not be computed."""
    reason = f"{_capitalised(subject)} could not be computed: {gap}. No data fails."
    return Check(name=name, passed=False, value=None, threshold=limit, n=0, reason=reason)


def concluded(stage: StoppedBy, checks: Sequence[Check], summary: str, **more: Any) -> Decision:
    """Return the decision over all checks: it passes exactly when each of them does, or is waived.

    Args:
        stage: Who decides.
        checks: All checks.
        summary: The decision in a sentence.
        more: Further fields of the decision.
    """
    passed = all(check.status != "failed" for check in checks)
    return Decision(passed=passed, stopped_by=None if passed else stage, checks=tuple(checks), summary=summary, **more)


def is_undecided(check: Check) -> bool:
    """Return whether a failed check's estimate keeps the limit and only its bound does not."""
    return not check.passed and check.reason.startswith(_UNDECIDED)


def factor_needed(scalable: Scalable, side: Side, limit: float) -> float | None:
    """Return how many times as many prompts, at the same rates, would bring the bound to the limit.

    Returns:
        A factor of at least 1, within a relative 1e-3; None when no factor up to ``LARGEST_FACTOR`` would.
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
