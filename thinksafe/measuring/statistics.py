"""Intervals of the gate: rates, averages and paired differences, each with a named method.

The prompt is the unit: its value in [0, 1] is one outcome, or the mean over its samples, so that samples of one prompt
are never counted as independent. A confidence is ``1 - 2 * alpha``: each limit of an interval is a one-sided bound
at level alpha. What the gate reads is closed-form or a root of a closed form; only the interval of pass@1, which is for
people, draws (seeded) resamples. A million prompts cost one pass; sums are exactly rounded (``math.fsum``), whatever
the order and the machine. No method gives an interval of zero width, whatever the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thinksafe.errors import StageError
from thinksafe.records import Interval

CLOPPER_PEARSON = "Clopper-Pearson"
BOOTSTRAP = "BCa bootstrap, clustered by prompt"
AGRESTI_COULL = "Agresti-Coull, clustered by prompt (all prompts agree)"
TANGO = "Tango score, paired"
BONETT_PRICE = "Bonett-Price, paired, clustered by prompt"
RESAMPLES = 9999


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and the number of prompts behind it."""

    value: float
    interval: Interval
    n: float
    """Prompts; fractional only in what-if computations (power, prompts needed)."""


@dataclass(frozen=True)
class Pairs:
    """Sufficient statistics of the differences ``first - second`` on the same n prompts."""

    n: float
    total: float
    """Sum of the differences, in [-n, n]."""
    squares: float
    """Sum of their squares, in [0, n]; the number of discordant pairs when ``binary``."""
    binary: bool
    """Every difference is 0 or total: one sample a prompt, or several that always agree where the models differ."""

    def scaled(self, factor: float) -> Pairs:
        """Return the same rates on ``factor`` times as many prompts."""
        return Pairs(self.n * factor, self.total * factor, self.squares * factor, self.binary)


def quantile(confidence: float) -> float:
    """Return the normal quantile of a two-sided confidence."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


def proportion(values: Sequence[float], confidence: float) -> Estimate:
    """Return the mean of values in [0, 1], one per prompt, with its Clopper-Pearson interval.

    Raises:
        StageError: there are no values, or one is outside [0, 1].
    """
    array = _checked(values)
    return proportion_of(math.fsum(array), len(array), confidence)


def proportion_of(total: float, n: float, confidence: float) -> Estimate:
    """Return ``total / n`` with its Clopper-Pearson (1934) interval.

    Chosen because the gate reads one limit at a time and small rates: over all true rates up to 50 %, the smallest
    coverage of the upper 95 % bound at n = 30, 100, 300 is 95.0 % each, where Wilson's is 92.6, 93.2, 93.4 % and
    Jeffreys' 85.2, 85.3, 85.9 % (their bounds at 0/n are too low). At 0/n the bound is ``1 - alpha ** (1 / n)``.

    A total that is not whole (prompts with several samples) is put into the same formula. Of all distributions on
    [0, 1] with one mean the 0/1 one has the largest variance, so this errs on the side of caution.
    """
    from scipy.special import betaincinv

    if n <= 0:
        raise StageError("A rate over no prompts does not exist.", "Check the benchmark's prompts and samples.")
    total = min(max(total, 0.0), float(n))
    tail = (1 - confidence) / 2
    low = 0.0 if total <= 0 else float(betaincinv(total, n - total + 1, tail))
    high = 1.0 if total >= n else float(betaincinv(total + 1, n - total, 1 - tail))
    return _estimate(total / n, low, high, n, confidence, CLOPPER_PEARSON, floor=0.0)


def pass_at_1(values: Sequence[float], confidence: float, seed: int) -> Estimate:
    """Return average pass@1 over problems, each value the share of its samples that are correct.

    The interval is the bias-corrected and accelerated bootstrap (BCa: Efron 1987) clustered by problem: problems are
    drawn with all of their samples. As few values differ (k + 1 for k samples a problem), a resample is drawn as the
    multinomial counts of the values, which is the same and costs as much for a million problems as for ten. In
    simulations with 1 or 8 samples a problem, rates of 5 to 90 % and 30 problems or more, each 95 % limit covers 93 %
    or more; at 30 problems with 8 samples and a rate of 5 %, 88 %.

    Where all values agree every resample is the same and the bootstrap has zero width. Then the interval is Agresti
    and Coull's (1998), on problems: half a squared normal quantile of problems that always fail and as many that
    always succeed are added first.

    Args:
        values: One for each problem, in [0, 1].
        confidence: Two-sided.
        seed: Seed of the resamples.

    Raises:
        StageError: there are no values, or one is outside [0, 1].
    """
    import numpy as np

    array = _checked(values)
    n, total = len(array), math.fsum(array)
    value = total / n
    levels, counts = np.unique(array, return_counts=True)
    if len(levels) == 1:
        low, high = _agresti_coull(value, n, quantile(confidence))
        return _estimate(value, low, high, n, confidence, AGRESTI_COULL, floor=0.0)
    low, high = _bca(levels, counts, confidence, seed)
    return _estimate(value, low, high, n, confidence, BOOTSTRAP, floor=0.0)


def _agresti_coull(value: float, n: int, z: float) -> tuple[float, float]:
    """Return the limits for n problems that all have one value."""
    padded = n + z * z
    centre = (value * n + z * z / 2) / padded
    variance = max((value * value * n + z * z / 2) / padded - centre * centre, 0.0)
    half = z * math.sqrt(variance / padded)
    return min(centre, value) - half, max(centre, value) + half


def _bca(levels: Any, counts: Any, confidence: float, seed: int) -> tuple[float, float]:
    """Return the BCa limits of the mean of values given as levels and how often each occurs."""
    import numpy as np

    n = int(counts.sum())
    value = float(levels @ counts) / n
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=RESAMPLES) @ levels / n
    pulls = (levels - value) / max(n - 1, 1)
    acceleration = float(counts @ pulls**3) / (6 * float(counts @ pulls**2) ** 1.5)
    return bca_limits(draws, value, acceleration, confidence)


def bca_limits(draws: Any, value: float, acceleration: float, confidence: float) -> tuple[float, float]:
    """Return the BCa limits (Efron 1987) of a number.

    Args:
        draws: The number in each resample [resamples].
        value: The number itself.
        acceleration: A sixth of the skewness of its jackknife pulls: what leaving one prompt out takes from it.
        confidence: Two-sided.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri

    # a tie with the estimate counts half; a share of 0 or 1 would be an infinite correction
    below = (np.mean(draws < value - 1e-12) + np.mean(draws <= value + 1e-12)) / 2
    bias = float(ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES)))
    limits = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + float(ndtri(tail))
        limits.append(float(np.quantile(draws, ndtr(bias + shifted / (1 - acceleration * shifted)))))
    return min(limits), max(limits)


def pairs_of(first: Sequence[float], second: Sequence[float]) -> Pairs:
    """Return the statistics of ``first - second``; position i of both is the same prompt.

    Raises:
        StageError: there are no values, the lengths differ, or a value is outside [0, 1].
    """
    import numpy as np

    one, two = _checked(first), _checked(second)
    if len(one) != len(two):
        raise StageError(f"{len(one)} outcomes cannot be paired with {len(two)}.", "Evaluate the same prompts.")
    differences = one - two
    binary = bool(np.isin(differences, (-1.0, 0.0, 1.0)).all())
    return Pairs(len(one), math.fsum(differences), math.fsum(differences * differences), binary)


def paired_difference(pairs: Pairs, confidence: float) -> Estimate:
    """Return the mean difference with its interval.

    Differences of -1, 0 and 1: Tango's score interval (Statistics in Medicine 17, 1998), made for paired
    non-inferiority. Without discordant pairs it is ``z**2 / (n + z**2)`` wide on either side, never zero. Exact size of
    the 5 % test of a margin of 2 to 5 points at n = 30 to 1000: 6.9 % at most (n = 52, margin of 5 points, no pair the
    other way), 6.1 % at most from 300 prompts or with 0.5 to 10 % of pairs the other way, mostly 4 to 5.

    Other differences: Bonett and Price's (2012) adjusted Wald interval, which adds one pair of difference +1 and one of
    -1; the differences of prompt means take the place of the discordant pairs (for 0/1 values the formula is theirs),
    so the standard error is clustered by prompt, and agreement on every prompt does not give zero width. Size in
    simulations with 8 samples a prompt: 1 to 6 % where losses are partial or chance makes many prompts differ; 5 to 7 %
    where the losses are total and one prompt in five differs by chance; up to 10.7 % where they are total and hardly
    any other prompt differs. :mod:`thinksafe.measuring.sizes` computes the last for a number of prompts.

    Raises:
        StageError: there are no pairs.
    """
    if pairs.n <= 0:
        raise StageError("A difference over no prompts does not exist.", "Check the benchmark's prompts and samples.")
    z, value = quantile(confidence), pairs.total / pairs.n
    if pairs.binary:
        won, lost = (pairs.squares + pairs.total) / 2, (pairs.squares - pairs.total) / 2
        low, high = -_tango_upper(lost, won, pairs.n, z), _tango_upper(won, lost, pairs.n, z)
    else:
        padded = pairs.n + 2
        centre = pairs.total / padded
        half = z * math.sqrt(max((pairs.squares + 2) / padded - centre * centre, 0.0) / padded)
        low, high = centre - half, centre + half
    return _estimate(value, low, high, pairs.n, confidence, TANGO if pairs.binary else BONETT_PRICE, floor=-1.0)


def stratified_average(strata: Sequence[Estimate]) -> Estimate:
    """Return the equally weighted average over benchmarks (strata), of rates or of differences alike.

    The interval is recovered from those of the strata (MOVER: Zou and Donner, Statistics in Medicine 27, 2008): the
    distance from estimate to limit is the root of the summed squares of the strata's distances, times their weight.
    It keeps how the strata's methods handle skewness and data without variation; a single stratum keeps its interval.

    Raises:
        StageError: there are no strata, or their confidences differ.
    """
    confidences = {stratum.interval.confidence for stratum in strata}
    if len(confidences) != 1:
        raise StageError("An average needs one or more benchmarks of one confidence.", "Check the benchmarks.")
    if len(strata) == 1:
        return strata[0]
    value = math.fsum(stratum.value for stratum in strata) / len(strata)
    below = math.hypot(*(stratum.value - stratum.interval.low for stratum in strata)) / len(strata)
    above = math.hypot(*(stratum.interval.high - stratum.value for stratum in strata)) / len(strata)
    methods = sorted({stratum.interval.method for stratum in strata})
    method = f"MOVER over {len(strata)} benchmarks ({'; '.join(methods)})"
    n = math.fsum(stratum.n for stratum in strata)
    return _estimate(value, value - below, value + above, n, confidences.pop(), method, floor=-1.0)


def _tango_upper(won: float, lost: float, n: float, z: float) -> float:
    """Return the largest difference d in [-1, 1] that the score test at quantile z does not reject.

    It solves ``n d - (won - lost) = z sd(d)``, where sd(d) has the maximum-likelihood share of lost pairs given d.
    """
    from scipy.optimize import brentq

    if won - lost >= n:
        return 1.0

    def excess(d: float) -> float:
        linear = (2 * n - won + lost) * d - won - lost
        constant = lost * d * (1 - d)
        root = math.sqrt(max(linear * linear + 8 * n * constant, 0.0))
        # the positive root of 2 n q**2 + linear q - constant, without cancellation
        share = 2 * constant / (root + linear) if linear > 0 else (root - linear) / (4 * n)
        return n * d - (won - lost) - z * math.sqrt(max(n * (2 * share + d * (1 - d)), 0.0))

    # at the estimate itself both sides vanish when nothing varies; the limit is the root above it
    return float(brentq(excess, (won - lost) / n + 1e-12, 1.0, xtol=1e-14, maxiter=200))


def _checked(values: Sequence[float]) -> Any:
    """Return values as a float array. Raises StageError if there are none or one is outside [0, 1]."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise StageError("An average over no prompts does not exist.", "Check the benchmark's prompts and samples.")
    if not bool(((array >= 0) & (array <= 1)).all()):
        raise StageError("An outcome is not a number in [0, 1].", "Compute the outcomes again.")
    return array


def _estimate(
    value: float, low: float, high: float, n: float, confidence: float, method: str, *, floor: float
) -> Estimate:
    """Build an estimate: limits inside [floor, 1] and on either side of the value, no negative zero."""
    value += 0.0
    interval = Interval(
        low=min(max(low, floor), value) + 0.0, high=max(min(high, 1.0), value) + 0.0, confidence=confidence,
        method=method,
    )
    return Estimate(value, interval, n)
