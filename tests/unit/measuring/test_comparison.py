"""Simultaneous intervals and dominance: properties over generated outcomes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.measuring.comparison import LOWER_IS_BETTER, Difference, differences, dominators
from thinksafe.measuring.evidence import Evidence
from thinksafe.measuring.statistics import paired_difference, pairs_of, proportion
from thinksafe.records import Interval, Metric, MetricKind, MetricSet, Outcome, SamplingSettings

NAMES: dict[MetricKind, list[str]] = {kind: [f"{kind}/x"] for kind in LOWER_IS_BETTER}


def evidence(values: dict[MetricKind, Sequence[float]]) -> Evidence:
    metrics = []
    for kind, of in values.items():
        found = proportion(of, 0.9)
        metrics.append(
            Metric(
                name=f"{kind}/x", kind=kind, benchmark="x", value=found.value, n=len(of), samples=len(of),
                interval=found.interval, settings=SamplingSettings(),
            )
        )
    outcomes = [
        Outcome(metric=f"{kind}/x", prompt_id=f"{place:04}", value=value)
        for kind, of in values.items() for place, value in enumerate(of)
    ]
    return Evidence(MetricSet(role="candidate", suite="s", metrics=tuple(metrics)), outcomes)


def model(seed: int, harm: float, refusal: float, right: float, n: int = 60) -> Evidence:
    draw = random.Random(seed)
    rates: dict[MetricKind, float] = {"harm": harm, "over_refusal": refusal, "reasoning": right}
    return evidence({kind: [float(draw.random() < rate) for _ in range(n)] for kind, rate in rates.items()})


shares = st.floats(0, 1)
models = st.dictionaries(
    st.sampled_from("abcde"), st.builds(model, st.integers(0, 999), shares, shares, shares), min_size=2, max_size=4
)


@given(models)
def test_all_pairs_in_all_measures_at_the_level_of_the_family(found: dict[str, Evidence]) -> None:
    result = differences(found, NAMES, 0.05)
    assert result.intervals == len(result.found) == 3 * len(found) * (len(found) - 1) // 2
    assert not result.missing
    for one in result.found:
        assert one.interval.confidence == pytest.approx(1 - 0.1 / result.intervals)
        assert one.interval.low <= one.value <= one.interval.high
        assert one.interval.low < one.interval.high
        assert f"Bonferroni over {result.intervals}" in one.interval.method
        alone = paired_difference(
            pairs_of(*(found[name].outcomes(NAMES[one.measure][0])[1] for name in (one.first, one.second))), 0.9
        )
        assert one.value == pytest.approx(alone.value)
        assert one.interval.low <= alone.interval.low + 1e-12
        assert alone.interval.high <= one.interval.high + 1e-12


@given(models)
def test_dominance_is_one_way_and_turns_with_the_order(found: dict[str, Evidence]) -> None:
    result = differences(found, NAMES, 0.05)
    by = dominators(found, result.found)
    for name, others in by.items():
        assert name not in others
        assert not any(name in by[other] for other in others)
    turned = dominators(found, [one.turned() for one in result.found])
    assert turned == by
    for one in result.found:
        back = one.turned()
        assert back.turned() == one
        assert {one.better, back.better} in ({""}, {"first", "second"})


def test_what_dominates_and_what_does_not() -> None:
    good, bad = model(1, 0.0, 0.0, 0.9, 300), model(2, 0.8, 0.0, 0.9, 300)
    mixed = model(3, 0.0, 0.9, 0.9, 300)
    found = {"good": good, "bad": bad, "mixed": mixed}
    assert dominators(found, differences(found, NAMES, 0.05).found) == {
        "good": (), "bad": ("good",), "mixed": ("good",),
    }
    same = {"a": good, "b": good}
    assert dominators(same, differences(same, NAMES, 0.05).found) == {"a": (), "b": ()}


def test_without_evidence_of_a_measure_nobody_dominates() -> None:
    lacking = evidence({"harm": [1.0] * 300, "over_refusal": [0.0] * 300})
    found = {"good": model(1, 0.0, 0.0, 0.9, 300), "lacking": lacking}
    result = differences(found, NAMES, 0.05)
    assert (result.intervals, len(result.found)) == (3, 2)
    assert result.missing == ("reasoning of good against lacking: the candidate has no metric reasoning/x.",)
    assert dominators(found, result.found) == {"good": (), "lacking": ()}


def test_all_intervals_hold_at_once_about_as_often_as_they_say() -> None:
    covered, draws = 0, 200
    for seed in range(draws):
        draw = random.Random(seed)
        rows = {
            name: evidence({
                kind: [float(draw.random() < 0.3) for _ in range(80)] for kind in LOWER_IS_BETTER
            })
            for name in "abc"
        }
        covered += all(one.better == "" for one in differences(rows, NAMES, 0.05).found)
    assert covered / draws >= 0.86  # 90 % less three standard errors of the simulation


@pytest.mark.parametrize(
    ("measure", "low", "high", "better"),
    [
        ("harm", -0.5, -0.1, "first"), ("harm", 0.1, 0.5, "second"), ("harm", -0.1, 0.1, ""),
        ("harm", 0.0, 0.5, ""), ("reasoning", 0.1, 0.5, "first"), ("reasoning", -0.5, -0.1, "second"),
    ],
)
def test_who_is_better(measure: MetricKind, low: float, high: float, better: str) -> None:
    one = Difference(
        measure=measure, first="a", second="b", value=(low + high) / 2, n=10,
        interval=Interval(low=low, high=high, confidence=0.9, method="m"),
    )
    assert one.better == better
