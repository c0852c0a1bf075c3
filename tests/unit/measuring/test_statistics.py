from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from thinksafe.errors import StageError
from thinksafe.measuring.statistics import (
    AGRESTI_COULL,
    BONETT_PRICE,
    BOOTSTRAP,
    CLOPPER_PEARSON,
    TANGO,
    Estimate,
    Pairs,
    paired_difference,
    pairs_of,
    pass_at_1,
    proportion,
    proportion_of,
    quantile,
    stratified_average,
)

CONFIDENCE = 0.9  # one-sided level 5 %
shares = st.one_of(st.sampled_from((0.0, 1.0)), st.floats(0, 1))
confidences = st.sampled_from((0.5, 0.8, 0.9, 0.95, 0.99))


def counts(n: int, won: int, lost: int) -> Pairs:
    return Pairs(n, won - lost, won + lost, True)


def check_shape(estimate: Estimate, floor: float) -> None:
    interval = estimate.interval
    assert floor <= interval.low <= estimate.value <= interval.high <= 1
    assert interval.high - interval.low > 1e-9, "an interval of zero width"


class TestProportion:
    @given(st.integers(1, 500), st.data(), confidences)
    def test_is_the_exact_interval(self, n: int, data: st.DataObject, confidence: float) -> None:
        k = data.draw(st.integers(0, n))
        interval = proportion_of(k, n, confidence).interval
        reference = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
        assert interval.low == pytest.approx(reference.low, abs=1e-9)
        assert interval.high == pytest.approx(reference.high, abs=1e-9)
        assert (interval.confidence, interval.method) == (confidence, CLOPPER_PEARSON)

    @pytest.mark.parametrize("n", [1, 7, 300])
    def test_no_failures_bound_the_rate_away_from_zero(self, n: int) -> None:
        estimate = proportion([0.0] * n, CONFIDENCE)
        assert estimate.value == estimate.interval.low == 0
        assert estimate.interval.high == pytest.approx(1 - 0.05 ** (1 / n))

    @pytest.mark.parametrize("n", [5, 30, 100])
    def test_each_bound_covers_at_its_level(self, n: int) -> None:
        """Exact coverage over all outcomes, worst of a grid of true rates."""
        k = np.arange(n + 1)
        intervals = [proportion_of(i, n, CONFIDENCE).interval for i in k]
        low, high = (np.array([getattr(i, side) for i in intervals]) for side in ("low", "high"))
        for rate in np.linspace(0.002, 0.998, 250):
            chance = stats.binom.pmf(k, n, rate)
            assert chance[high >= rate].sum() >= 0.95 - 1e-9
            assert chance[low <= rate].sum() >= 0.95 - 1e-9

    @pytest.mark.parametrize("samples", [2, 8])
    def test_several_samples_a_prompt_err_on_the_side_of_caution(self, samples: int) -> None:
        rng = np.random.default_rng(samples)
        rate, covered = 0.05, 0
        for _ in range(1000):
            own = rng.beta(rate / 2, (1 - rate) / 2, 100)
            covered += proportion(rng.binomial(samples, own) / samples, CONFIDENCE).interval.high >= rate
        assert covered >= 950

    @given(st.lists(shares, min_size=1, max_size=40), confidences)
    def test_contains_the_mean(self, values: list[float], confidence: float) -> None:
        estimate = proportion(values, confidence)
        assert estimate.value == pytest.approx(sum(values) / len(values))
        check_shape(estimate, 0)

    @given(st.integers(1, 200), st.data())
    def test_more_prompts_narrow_it(self, n: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(0, n))
        few, many = proportion_of(k, n, CONFIDENCE).interval, proportion_of(3 * k, 3 * n, CONFIDENCE).interval
        assert few.low <= many.low
        assert many.high <= few.high

    def test_order_does_not_matter(self) -> None:
        values = np.random.default_rng(0).random(1000)
        assert proportion(values, CONFIDENCE) == proportion(values[::-1], CONFIDENCE)


class TestPassAt1:
    @settings(deadline=None)
    @given(st.lists(st.integers(0, 8), min_size=1, max_size=40), confidences)
    def test_contains_the_average(self, values: list[int], confidence: float) -> None:
        estimate = pass_at_1([value / 8 for value in values], confidence, 1)
        check_shape(estimate, 0)
        assert estimate.interval.method == (AGRESTI_COULL if len(set(values)) == 1 else BOOTSTRAP)

    @pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
    def test_problems_that_all_agree_leave_room(self, value: float) -> None:
        """All right, all wrong, or each half right: every resample would be the same."""
        interval = pass_at_1([value] * 30, CONFIDENCE, 1).interval
        assert interval.high - interval.low > 0.05
        assert interval.low <= value <= interval.high

    def test_the_seed_decides(self) -> None:
        values = [k / 8 for k in np.random.default_rng(5).integers(0, 9, 200)]
        assert pass_at_1(values, CONFIDENCE, 1) == pass_at_1(values[::-1], CONFIDENCE, 1)
        assert len({pass_at_1(values, CONFIDENCE, seed).interval.low for seed in range(6)}) > 1

    @pytest.mark.parametrize("rate", [0.2, 0.5, 0.95])
    def test_agrees_with_scipy(self, rate: float) -> None:
        values = np.random.default_rng(3).binomial(4, rate, 60) / 4
        ours = pass_at_1(values, CONFIDENCE, 1).interval
        theirs = stats.bootstrap(
            (values,), np.mean, confidence_level=CONFIDENCE, method="BCa", n_resamples=9999, rng=1
        ).confidence_interval
        assert ours.low == pytest.approx(theirs.low, abs=0.006)
        assert ours.high == pytest.approx(theirs.high, abs=0.006)

    def test_clusters_by_prompt(self) -> None:
        """Eight samples that always agree are worth one; eight that vary within each prompt are worth more."""
        whole = pass_at_1([0.0, 1.0] * 50, CONFIDENCE, 1).interval
        mixed = pass_at_1([0.375, 0.625] * 50, CONFIDENCE, 1).interval
        assert mixed.high - mixed.low < 0.5 * (whole.high - whole.low)
        assert whole.high - whole.low == pytest.approx(2 * quantile(CONFIDENCE) * 0.5 / math.sqrt(100), rel=0.03)

    @pytest.mark.parametrize(("n", "samples", "rate"), [(30, 8, 0.9), (30, 1, 0.9), (100, 8, 0.1), (100, 2, 0.5)])
    def test_each_bound_covers(self, n: int, samples: int, rate: float) -> None:
        rng = np.random.default_rng(n * samples)
        intervals = [
            pass_at_1(rng.binomial(samples, rng.beta(2 * rate, 2 * (1 - rate), n)) / samples, CONFIDENCE, i).interval
            for i in range(500)
        ]
        assert sum(i.high >= rate for i in intervals) >= 0.92 * 500
        assert sum(i.low <= rate for i in intervals) >= 0.92 * 500


def score(won: int, lost: int, n: int, d: float) -> float:
    """Tango's statistic from its definition: the nuisance share maximises the likelihood numerically."""

    def deviance(share: float) -> float:
        cells = ((won, share + d), (lost, share), (n - won - lost, 1 - 2 * share - d))
        return -sum(k * math.log(max(p, 1e-300)) for k, p in cells if k)

    found = optimize.minimize_scalar(
        deviance, bounds=(max(0.0, -d), (1 - d) / 2), method="bounded", options={"xatol": 1e-13}
    )
    return float((won - lost - n * d) / math.sqrt(n * (2 * found.x + d * (1 - d))))


class TestPairedDifference:
    @pytest.mark.parametrize(
        ("won", "lost", "n"), [(40, 20, 160), (1, 9, 44), (5, 0, 30), (0, 3, 10), (12, 12, 25), (150, 2, 160)]
    )
    @pytest.mark.parametrize("confidence", [0.9, 0.95])
    def test_limits_solve_the_score_equation(self, won: int, lost: int, n: int, confidence: float) -> None:
        interval = paired_difference(counts(n, won, lost), confidence).interval
        assert interval.method == TANGO
        assert score(won, lost, n, interval.low) == pytest.approx(quantile(confidence), abs=2e-3)
        assert score(won, lost, n, interval.high) == pytest.approx(-quantile(confidence), abs=2e-3)

    @pytest.mark.parametrize("n", [1, 30, 10**6])
    def test_no_discordant_pairs(self, n: int) -> None:
        z2 = quantile(CONFIDENCE) ** 2
        estimate = paired_difference(pairs_of([1.0] * n, [1.0] * n), CONFIDENCE)
        assert estimate.value == 0
        assert estimate.interval.high == pytest.approx(z2 / (n + z2), rel=1e-6)
        assert estimate.interval.low == -estimate.interval.high

    def test_all_pairs_discordant(self) -> None:
        z2 = quantile(CONFIDENCE) ** 2
        interval = paired_difference(counts(30, 30, 0), CONFIDENCE).interval
        assert (interval.low, interval.high) == (pytest.approx((30 - z2) / (30 + z2)), 1.0)

    def test_equal_means_of_several_samples_still_have_width(self) -> None:
        estimate = paired_difference(pairs_of([0.25] * 30, [0.25] * 30), CONFIDENCE)
        z2 = quantile(CONFIDENCE) ** 2
        assert estimate.interval.method == TANGO  # no difference is partial
        assert estimate.interval.high == pytest.approx(z2 / (30 + z2))
        estimate = paired_difference(pairs_of([0.5] * 30, [0.25, 0.75] * 15), CONFIDENCE)
        assert estimate.interval.method == BONETT_PRICE
        assert estimate.interval.high == pytest.approx(quantile(CONFIDENCE) * math.sqrt(2 + 30 / 16) / 32)

    def test_is_bonett_and_price_for_outcomes(self) -> None:
        """Their formula from adjusted discordant shares: 8 won and 3 lost of 50."""
        won, lost = 9 / 52, 4 / 52
        half = quantile(CONFIDENCE) * math.sqrt((won + lost - (won - lost) ** 2) / 52)
        interval = paired_difference(Pairs(50, 5, 11, False), CONFIDENCE).interval
        assert interval.low == pytest.approx(won - lost - half)
        assert interval.high == pytest.approx(won - lost + half)

    @given(st.lists(st.tuples(shares, shares), min_size=1, max_size=40), confidences)
    def test_contains_the_difference_and_swapping_sides_negates_it(
        self, values: list[tuple[float, float]], confidence: float
    ) -> None:
        first, second = zip(*values, strict=True)
        there = paired_difference(pairs_of(first, second), confidence)
        back = paired_difference(pairs_of(second, first), confidence)
        check_shape(there, -1)
        assert there.value == -back.value
        assert there.interval.low == pytest.approx(-back.interval.high, abs=1e-9)
        assert there.interval.high == pytest.approx(-back.interval.low, abs=1e-9)

    @given(st.lists(st.tuples(shares, shares), min_size=1, max_size=20))
    def test_more_prompts_narrow_it(self, values: list[tuple[float, float]]) -> None:
        first, second = zip(*values, strict=True)
        pairs = pairs_of(first, second)
        few, many = (paired_difference(p, CONFIDENCE).interval for p in (pairs, pairs.scaled(4)))
        assert many.high - many.low < few.high - few.low

    @pytest.mark.parametrize("n", [100, 300])
    @pytest.mark.parametrize("margin", [0.02, 0.05])
    @pytest.mark.parametrize("lost", [0.01, 0.05])
    def test_size_of_the_non_inferiority_test(self, n: int, margin: float, lost: float) -> None:
        """Chance, exact over all tables, that a candidate worse by exactly the margin passes."""
        worst = math.ceil(n * (lost + margin) * 2 + 12)
        size = 0.0
        for a in range(worst):
            for b in range(worst):
                chance = stats.multinomial.pmf([a, b, n - a - b], n, [lost + margin, lost, 1 - 2 * lost - margin])
                if chance > 1e-7 and paired_difference(counts(n, a, b), CONFIDENCE).interval.high <= margin:
                    size += float(chance)
        assert 0.01 < size < 0.065

    def test_size_with_several_samples_a_prompt(self) -> None:
        rng = np.random.default_rng(5)
        passed, margin = 0, 0.05
        for _ in range(2000):
            base = rng.beta(1.6, 0.4, 200)
            worse = base * (1 - margin / 0.8)
            pairs = pairs_of(rng.binomial(8, base) / 8, rng.binomial(8, worse) / 8)
            passed += paired_difference(pairs, CONFIDENCE).interval.high <= margin
        assert 20 <= passed <= 120  # 1 to 6 %


class TestStratifiedAverage:
    def test_weighs_benchmarks_equally(self) -> None:
        small, large = proportion_of(30, 30, CONFIDENCE), proportion_of(0, 3000, CONFIDENCE)
        both = stratified_average([small, large])
        assert both.value == 0.5
        assert both.n == 3030
        assert both.interval.low == pytest.approx(0.5 - (1 - small.interval.low) / 2)
        assert both.interval.high == pytest.approx(0.5 + large.interval.high / 2)
        assert "MOVER over 2" in both.interval.method

    def test_one_benchmark_keeps_its_interval(self) -> None:
        only = paired_difference(counts(50, 3, 5), CONFIDENCE)
        assert stratified_average([only]) == only

    @given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=5))
    def test_contains_the_average(self, strata: list[tuple[int, float, float]]) -> None:
        estimates = [
            paired_difference(counts(n, math.floor(n * won), math.floor(n * lost)), CONFIDENCE)
            for n, won, lost in strata
        ]
        check_shape(stratified_average(estimates), -1)

    def test_size_over_unequal_benchmarks(self) -> None:
        """Non-inferiority of the average where every benchmark loses exactly the margin."""
        rng = np.random.default_rng(11)
        passed, margin, sizes = 0, 0.05, (30, 200, 500)
        for _ in range(1000):
            tables = [(n, rng.multinomial(n, [0.05 + margin, 0.05, 0.9 - margin])) for n in sizes]
            average = stratified_average(
                [paired_difference(counts(n, int(t[0]), int(t[1])), CONFIDENCE) for n, t in tables]
            )
            passed += average.interval.high <= margin
        assert 15 <= passed <= 70

    def test_refuses_mixed_confidences_and_nothing(self) -> None:
        for strata in ([], [proportion_of(1, 2, 0.9), proportion_of(1, 2, 0.95)]):
            with pytest.raises(StageError):
                stratified_average(strata)


@pytest.mark.parametrize("values", [[], [1.5], [-0.1], [math.nan]])
def test_bad_values_are_errors(values: list[float]) -> None:
    with pytest.raises(StageError):
        proportion(values, CONFIDENCE)
    with pytest.raises(StageError):
        pass_at_1(values, CONFIDENCE, 1)
    with pytest.raises(StageError):
        pairs_of(values, values)


def test_unequal_lengths_cannot_be_paired() -> None:
    with pytest.raises(StageError, match="2 outcomes cannot be paired with 1"):
        pairs_of([0.0, 1.0], [0.0])


def test_no_prompts_are_an_error() -> None:
    with pytest.raises(StageError):
        proportion_of(0, 0, CONFIDENCE)
    with pytest.raises(StageError):
        paired_difference(counts(0, 0, 0), CONFIDENCE)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_result_does_not_depend_on_the_order_of_prompts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second, order = rng.random(50), rng.random(50), rng.permutation(50)
    assert pairs_of(first, second) == pairs_of(first[order], second[order])


def test_a_million_outcomes_are_fast() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.random((2, 10**6)) < 0.1).astype(float)
    start = time.process_time()
    proportion(first, CONFIDENCE)
    pass_at_1(first, CONFIDENCE, 1)
    paired_difference(pairs_of(first, second), CONFIDENCE)
    assert time.process_time() - start < 5
