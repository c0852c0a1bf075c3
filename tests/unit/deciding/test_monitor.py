"""The decision of a re-evaluation: limits as the gate has them, a regression only on evidence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.gate import GateSettings
from thinksafe.config.sections import MonitorSection
from thinksafe.deciding.monitor import assess
from thinksafe.measuring.statistics import proportion
from thinksafe.records import Decision, Metric, MetricKind, MetricSet, Outcome, SamplingSettings

NAMES: dict[MetricKind, str] = {"harm": "harmbench", "over_refusal": "xstest", "reasoning": "gsm8k"}


def section(*kinds: MetricKind, alpha: float = 0.01, **gate: Any) -> MonitorSection:
    kinds = kinds or ("harm", "over_refusal", "reasoning")
    return MonitorSection(
        gate=GateSettings(**gate), alarm=AlarmSettings(alpha=alpha), kinds=kinds,
        reasoning_benchmarks=("gsm8k",) if "reasoning" in kinds else (),
    )


def measured(n: int = 300, suite: str = "s", **ones: int) -> tuple[MetricSet, list[Outcome]]:
    """Metrics of n prompts each; the first prompts have the value 1."""
    metrics, outcomes = [], []
    for kind, count in ones.items():
        name = f"{kind}/{NAMES[kind]}"  # type: ignore[index]
        values = [1.0] * count + [0.0] * (n - count)
        estimate = proportion(values, 0.9)
        metrics.append(
            Metric(
                name=name, kind=kind, benchmark=NAMES[kind], value=estimate.value, n=n, samples=n,  # type: ignore[index,arg-type]
                interval=estimate.interval, settings=SamplingSettings(),
            )
        )
        outcomes += [Outcome(metric=name, prompt_id=f"{i:05d}", value=value) for i, value in enumerate(values)]
    return MetricSet(role="evaluated", suite=suite, metrics=tuple(metrics)), outcomes


def decide(now: Any, before: Any = None, given: MonitorSection | None = None) -> Decision:
    return assess(*now, *(before or (None, ())), given or section())


GOOD = {"harm": 3, "over_refusal": 5, "reasoning": 270}


def failed(decision: Decision) -> set[str]:
    return {check.name for check in decision.checks if not check.passed}


def test_a_first_evaluation_is_held_to_the_limits_only() -> None:
    decision = decide(measured(**GOOD))
    assert decision.passed
    assert not any(check.name.startswith("regression/") for check in decision.checks)
    assert "first evaluation" in decision.summary
    bad = decide(measured(**{**GOOD, "harm": 60}))
    assert failed(bad) == {"harm/harmbench"}
    assert bad.stopped_by == "monitor"


def test_an_equal_evaluation_is_no_regression() -> None:
    decision = decide(measured(**GOOD), measured(**GOOD))
    assert decision.passed
    names = {check.name for check in decision.checks}
    assert {"regression/harm/harmbench", "regression/over_refusal/xstest", "regression/reasoning"} <= names
    assert all(check.interval is not None for check in decision.checks if check.name.startswith("regression/"))


@pytest.mark.parametrize(
    ("now", "check"),
    [
        ({"harm": 20}, "regression/harm/harmbench"),
        ({"over_refusal": 22}, "regression/over_refusal/xstest"),
        ({"reasoning": 240}, "regression/reasoning"),
    ],
)
def test_evidence_of_a_change_for_the_worse(now: dict[str, int], check: str) -> None:
    loose = section(harm={"max": 1.0}, over_refusal={"max": 1.0})
    decision = decide(measured(**{**GOOD, **now}), measured(**GOOD), loose)
    assert failed(decision) == {check}
    assert "There is evidence of" in next(c.reason for c in decision.checks if c.name == check)


def test_a_change_for_the_better_or_by_chance_is_none() -> None:
    assert decide(measured(harm=0, over_refusal=2, reasoning=290), measured(**GOOD)).passed
    assert decide(measured(harm=5, over_refusal=7, reasoning=268), measured(**GOOD)).passed


def test_only_what_the_suite_measures_is_asked_for() -> None:
    decision = decide(measured(reasoning=270), measured(reasoning=270), section("reasoning"))
    assert decision.passed
    assert {c.name for c in decision.checks} == {
        "reasoning/measured", "truncated", "min_prompts/gsm8k", "regression/reasoning",
    }


def test_what_the_suite_measures_and_is_missing_fails() -> None:
    found = failed(decide(measured(reasoning=270)))
    assert {"harm", "over_refusal"} <= found
    lost = failed(decide(measured(harm=3, over_refusal=5), measured(**GOOD)))
    assert "regression/reasoning" in lost


def test_another_suite_cannot_be_compared_with() -> None:
    decision = decide(measured(**GOOD), measured(suite="other", **GOOD))
    assert {name for name in failed(decision) if name.startswith("regression/")}
    assert any("different suites" in check.reason for check in decision.checks)


def test_outcomes_that_are_not_those_of_the_metrics() -> None:
    metrics, outcomes = measured(**GOOD)
    assert failed(decide((metrics, outcomes[1:])))


@settings(max_examples=30, deadline=None)
@given(before=st.integers(0, 200), now=st.integers(0, 200))
def test_a_regression_never_rings_when_the_numbers_fell(before: int, now: int) -> None:
    loose = section(harm={"max": 1.0}, over_refusal={"max": 1.0})
    decision = decide(
        measured(n=200, harm=now, over_refusal=0, reasoning=100),
        measured(n=200, harm=before, over_refusal=0, reasoning=100), loose,
    )
    rang = "regression/harm/harmbench" in failed(decision)
    assert not (rang and now <= before)
    assert rang or now - before < 40


def test_false_alarms_are_as_rare_as_alpha_says() -> None:
    """Twenty prompts of three hundred flip by chance, either way: the exact size of the comparison."""
    from scipy.stats import binom

    from thinksafe.measuring.statistics import Pairs, paired_difference

    rings = 0.0
    for worse in range(21):
        pairs = Pairs(300, worse - (20 - worse), 20, True)
        if paired_difference(pairs, 1 - 2 * 0.01).interval.low > 0:
            rings += float(binom.pmf(worse, 20, 0.5))
    assert 0 < rings <= 0.013


@pytest.mark.parametrize(("right", "passes"), [(0, False), (3, False), (20, True), (300, True)])
def test_a_model_that_solves_nothing_is_not_measured(right: int, passes: bool) -> None:
    decision = decide(measured(**GOOD | {"reasoning": right}))
    assert failed(decision) == (set() if passes else {"reasoning/measured"})
