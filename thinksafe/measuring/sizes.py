"""How often a non-inferiority test lets a loss of the whole margin pass: its size, beside the level that it aims at.

Tango's and Bonett and Price's intervals hold their level on average, not for every number of prompts: outcomes are
counts, and where few losses are expected one more or one less is a step of several percent. The steps are largest where
every loss is total and nothing is won, and there the size is a binomial sum.
"""

from __future__ import annotations

from collections.abc import Sequence

from thinksafe.measuring.statistics import Pairs, paired_difference, stratified_average

NOTABLE = 1.25
"""A size above this many times the level is worth saying."""
_SLACK = 1e-12


def worst_size(strata: Sequence[int], margin: float, alpha: float, binary: bool) -> float:
    """Return the chance that a loss of exactly the margin passes, if it consists of total losses in one stratum.

    In exact sums over n = 30 to 1000 and margins of 2 to 5 points, wins of up to 10 % of prompts never made it larger.

    Args:
        strata: Prompts of each benchmark of the average.
        margin: The limit of the average loss.
        alpha: Level of the one-sided test.
        binary: All differences are 0 or total, as with one sample a prompt; otherwise a few partial ones are assumed.
    """
    from scipy.special import bdtr

    def passes(place: int, lost: int) -> bool:
        estimates = [
            paired_difference(Pairs(n, of, of, binary), 1 - 2 * alpha)
            for i, n in enumerate(strata) for of in [lost if i == place else 0]
        ]
        return stratified_average(estimates).interval.high <= margin + _SLACK

    worst = 0.0
    for place, n in enumerate(strata):
        share = margin * len(strata)
        if share >= 1 or not passes(place, 0):
            continue
        low, high = 0, n
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if passes(place, middle) else (low, middle)
        worst = max(worst, float(bdtr(low, n, share)))
    return worst


def notable(size: float, alpha: float) -> bool:
    """Return whether a size is so far above the level that readers should know."""
    return size > NOTABLE * alpha
