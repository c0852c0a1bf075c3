"""The size of the non-inferiority tests, against sums over all outcomes and against draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from thinksafe.measuring.sizes import notable, worst_size
from thinksafe.measuring.statistics import Pairs, paired_difference, stratified_average


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("n", [20, 30, 52, 75, 133, 300])
@pytest.mark.parametrize("margin", [0.02, 0.05, 0.2])
def test_is_the_sum_over_all_outcomes(n: int, margin: float, binary: bool) -> None:
    chance = sum(
        float(binom.pmf(k, n, margin)) for k in range(n + 1)
        if paired_difference(Pairs(n, k, k, binary), 0.9).interval.high <= margin + 1e-12
    )
    assert worst_size([n], margin, 0.05, binary) == pytest.approx(chance, abs=1e-9)


@pytest.mark.parametrize(("n", "binary", "size"), [(52, True, 0.0694), (75, True, 0.0213), (75, False, 0.1056)])
def test_known_sizes(n: int, binary: bool, size: float) -> None:
    assert worst_size([n], 0.05, 0.05, binary) == pytest.approx(size, abs=1e-4)
    assert notable(size, 0.05) == (size > 0.0625)


def test_an_average_is_worst_where_one_benchmark_bears_the_loss() -> None:
    strata, margin = (60, 200), 0.05
    draws = np.random.default_rng(0)
    passed = 0
    for _ in range(3000):
        lost = draws.binomial(60, 2 * margin)
        estimates = [paired_difference(Pairs(n, k, k, True), 0.9) for n, k in zip(strata, (lost, 0), strict=True)]
        passed += stratified_average(estimates).interval.high <= margin
    assert worst_size(strata, margin, 0.05, True) >= passed / 3000 - 0.015


def test_a_test_that_never_passes_has_no_size() -> None:
    assert worst_size([30], 0.02, 0.05, True) == 0.0
    assert worst_size([30, 30], 0.6, 0.05, True) == 0.0
