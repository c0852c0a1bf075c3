"""Arithmetic against libraries and formulas, and the coverage of the intervals by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from thinksafe.audit.estimates import Bounds, Stratum, caught, harm_ratio, kappa, side_share
from thinksafe.audit.threshold import best_threshold
from thinksafe.measuring.statistics import proportion_of


@st.composite
def strata(draw: st.DrawFn) -> list[Stratum]:
    found = []
    for _ in range(draw(st.integers(1, 6))):
        size = draw(st.integers(1, 2000))
        labels = draw(st.integers(1, min(size, 60)))
        found.append(Stratum(size, labels, draw(st.integers(0, labels)), draw(st.booleans())))
    return found


def parts(found: list[Stratum], prompts: int, confidence: float = 0.9) -> dict[str, Bounds | None]:
    positive, negative = ([s for s in found if s.positive is flag] for flag in (True, False))
    flipped = [s.flipped for s in positive], [s.flipped for s in negative]
    return {
        "recall": caught(positive, negative, prompts, confidence),
        "specificity": caught(flipped[1], flipped[0], prompts, confidence),
        "precision": side_share(positive, sum(s.size for s in positive), confidence) if positive else None,
    }


@given(strata())
def test_the_harm_ratio_is_rogan_and_gladens_wherever_that_exists(found: list[Stratum]) -> None:
    whole = sum(s.size for s in found)
    of = parts(found, whole)
    value = harm_ratio(found, whole, 0.9).value
    assert value == pytest.approx(sum(s.size * s.unsafe / s.labels for s in found) / whole)
    recall, specificity = of["recall"], of["specificity"]
    if recall is None or specificity is None:
        assert value == pytest.approx(0 if recall is None else 1, abs=1e-9)
        return
    index = recall.value + specificity.value - 1
    if abs(index) > 1e-6:
        apparent = sum(s.size for s in found if s.positive) / whole
        assert value == pytest.approx((apparent + specificity.value - 1) / index, abs=1e-6)


@given(strata(), st.integers(1, 3000))
def test_limits_are_ordered_and_never_without_width(found: list[Stratum], prompts: int) -> None:
    for bounds in (harm_ratio(found, prompts, 0.9), *parts(found, prompts).values()):
        if bounds is not None:
            assert 0 <= bounds.low <= bounds.value <= bounds.high <= 1
            assert bounds.high - bounds.low > 1e-9


@given(st.integers(1, 400), st.data())
def test_when_everything_is_labelled_the_gates_interval_is_left(n: int, data: st.DataObject) -> None:
    unsafe = data.draw(st.integers(0, n))
    found = harm_ratio([Stratum(n, n, unsafe, True)], n, 0.9)
    expected = proportion_of(unsafe, n, 0.9)
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.interval.low, expected.interval.high), abs=1e-9
    )


@given(strata())
def test_more_labels_of_the_same_kind_never_widen(found: list[Stratum]) -> None:
    more = [Stratum(s.size * 3, s.labels * 3, s.unsafe * 3, s.positive) for s in found]
    whole = sum(s.size for s in found)
    one, two = side_share(found, whole, 0.9), side_share(more, 3 * whole, 0.9)
    assert two.value == pytest.approx(one.value)
    assert two.high - two.low <= one.high - one.low + 1e-9


@given(strata())
def test_kappa_is_statsmodels_kappa_of_the_weighted_table(found: list[Stratum]) -> None:
    table = np.zeros((2, 2))
    for s in found:
        share = s.unsafe / s.labels
        table[int(s.positive)] += s.size * np.array([1 - share, share])
    bounds = kappa(found, 0.9, 1)
    if bounds is None:
        assert (table.sum(0) == 0).any()
        assert (table.sum(1) == 0).any()
        return
    assert bounds == kappa(found, 0.9, 1), "seeded"
    if (table.sum(0) > 0).all() and (table.sum(1) > 0).all():
        assert bounds.value == pytest.approx(cohens_kappa(table).kappa, abs=1e-9)
    assert bounds.low <= bounds.value <= bounds.high


def test_a_share_of_nothing_does_not_exist() -> None:
    assert caught([Stratum(10, 5, 0, True)], [Stratum(90, 20, 0, False)], 100, 0.9) is None


def test_a_guard_that_catches_nothing_or_all_keeps_its_other_limit() -> None:
    unsafe, safe = Stratum(40, 20, 5, True), Stratum(60, 20, 0, False)
    none, all_ = caught([safe], [unsafe], 100, 0.9), caught([unsafe], [safe], 100, 0.9)
    assert none is not None
    assert all_ is not None
    assert (none.value, none.low) == (0, 0)
    assert 0.05 < none.high < 0.8
    assert (all_.value, all_.high) == (1, 1)
    assert all_.low == pytest.approx(1 - none.high)


def test_a_side_without_verdicts_has_an_upper_limit_too() -> None:
    """A guard that called nothing unsafe may have caught some of what it would see next."""
    found = caught([], [Stratum(200, 50, 10, False)], 200, 0.9)
    assert found is not None
    assert (found.value, found.low) == (0, 0)
    assert 0 < found.high < 0.2


# true harm, recall and specificity of the guard; prompts of the benchmark; rows that are labelled
WORLDS = [
    (0.03, 0.8, 0.98, 500, 150), (0.10, 0.7, 0.95, 400, 120), (0.40, 0.9, 0.85, 300, 100), (0.0, 0.9, 0.97, 300, 80),
    (0.02, 0.0, 1.0, 1000, 200), (0.25, 0.95, 0.6, 200, 200),
]


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_coverage(world: tuple[float, float, float, int, int]) -> None:
    """Prompts, verdicts and labels are drawn anew; each one-sided limit at 95 % must cover its truth about as often."""
    harm, recall, specificity, prompts, size = world
    generator, runs = np.random.default_rng(7), 1500
    called_ = harm * recall + (1 - harm) * (1 - specificity)
    precision = harm * recall / max(called_, 1e-9)
    truths = {"harm": harm, "recall": recall, "specificity": specificity, "precision": precision}
    misses = {name: [0, 0, 0] for name in truths}
    for _ in range(runs):
        unsafe = generator.random(prompts) < harm
        called = np.where(unsafe, generator.random(prompts) < recall, generator.random(prompts) >= specificity)
        found = []
        for flag in (True, False):
            rows = unsafe[called == flag]
            # about as the allocation draws: by the root of the size
            n = min(len(rows), max(5, round(size * math.sqrt(len(rows)) / sum(
                math.sqrt(max((called == other).sum(), 1)) for other in (True, False)
            ))))
            if n:
                labelled = generator.permutation(rows)[:n]
                found.append(Stratum(len(rows), n, int(labelled.sum()), flag))
        for name, bounds in {"harm": harm_ratio(found, prompts, 0.9), **parts(found, prompts)}.items():
            if bounds is not None:
                misses[name][0] += bounds.low > truths[name] + 1e-12
                misses[name][1] += bounds.high < truths[name] - 1e-12
                misses[name][2] += 1
    for name, (low, high, n) in misses.items():
        if n > runs / 2:
            # 5 % each, and three standard errors of the simulation
            allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / n)
            assert low / n <= allowed, (name, low / n)
            assert high / n <= allowed, (name, high / n)


def test_the_interval_is_not_needlessly_wide() -> None:
    """With half of the texts labelled it is within a third of that of a full census of as many prompts."""
    found = [Stratum(40, 20, 10, True), Stratum(460, 230, 5, False)]
    bounds = harm_ratio(found, 500, 0.9)
    census = proportion_of(bounds.value * 500, 500, 0.9).interval
    assert bounds.high - bounds.low < 1.6 * (census.high - census.low)


class TestThreshold:
    def test_a_clean_cut_between_the_labels(self) -> None:
        p = [0.1, 0.2, 0.3, 0.6, 0.7]
        found = best_threshold("g", p, [False, False, True, True, True], [1.0] * 5, [False] * 5, 0.5)
        assert found.best is not None
        assert found.used is not None
        assert found.best.threshold == pytest.approx(0.25)
        assert (found.best.recall, found.best.specificity, found.best.youden) == (1, 1, 1)
        assert found.used.recall == pytest.approx(2 / 3)

    def test_the_one_in_use_stays_where_none_is_better(self) -> None:
        found = best_threshold("g", [0.1, 0.9], [False, True], [1.0, 1.0], [False, False], 0.5)
        assert found.best is not None
        assert found.best.threshold == 0.5

    def test_weights_decide(self) -> None:
        # two safe texts at 0.6 stand for many, the unsafe one at 0.4 for one
        given = [0.4, 0.6, 0.6, 0.9], [True, False, False, True]
        light = best_threshold("g", *given, [1.0, 1.0, 1.0, 1.0], [False] * 4, 0.5).best
        assert light is not None
        assert light.threshold == pytest.approx(0.75)

    def test_unknown_counts_as_unsafe_whatever_the_threshold(self) -> None:
        p = [0.1, 0.9, None]
        found = best_threshold("g", p, [False, True, False], [1.0] * 3, [False, False, True], 0.5)
        assert found.best is not None
        assert found.best.specificity == 0.5
        assert found.n == 2

    @pytest.mark.parametrize(
        ("p", "unsafe", "unknown", "used", "why"),
        [
            ([None, None], [True, False], [False, False], 0.5, "no probabilities"),
            ([0.1, 0.9], [True, False], [False, False], None, "no probabilities"),
            ([0.1, None], [True, False], [False, False], 0.5, "no probability"),
            ([0.1, 0.9], [True, True], [False, False], 0.5, "all labels are the same"),
        ],
    )
    def test_says_why_there_is_none(
        self, p: list[float | None], unsafe: list[bool], unknown: list[bool], used: float | None, why: str
    ) -> None:
        found = best_threshold("g", p, unsafe, [1.0] * 2, unknown, used)
        assert found.best is None
        assert why in found.note

    @given(st.data())
    def test_none_of_sklearns_thresholds_is_better(self, data: st.DataObject) -> None:
        metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
        n = data.draw(st.integers(2, 30))
        p = data.draw(st.lists(st.floats(0, 1, width=16), min_size=n, max_size=n))
        unsafe = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
        weights = data.draw(st.lists(st.floats(1, 100, width=16), min_size=n, max_size=n))
        if all(unsafe) or not any(unsafe):
            return
        false, true, _ = metrics.roc_curve(unsafe, p, sample_weight=weights, drop_intermediate=False)
        found = best_threshold("g", p, unsafe, weights, [False] * n, 0.5)
        assert found.best is not None
        # calling everything or nothing unsafe has an index of 0; no threshold between two values does that
        assert max(found.best.youden, 0) == pytest.approx(max(true - false), abs=1e-9)
