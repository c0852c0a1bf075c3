"""Records refuse what they cannot mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from thinksafe.errors import InputError
from thinksafe.jsonl import read_record, read_records
from thinksafe.records import (
    Check,
    Decision,
    Grade,
    Interval,
    Metric,
    MetricSet,
    Outcome,
    Prompt,
    Sample,
    SamplingSettings,
    Verdict,
)

INTERVAL = Interval(low=0.1, high=0.3, confidence=0.9, method="m")


def metric(**changes: Any) -> Metric:
    given = {
        "name": "harm/b", "kind": "harm", "benchmark": "b", "value": 0.2, "n": 10, "samples": 10, "interval": INTERVAL,
        "settings": SamplingSettings(),
    }
    return Metric(**(given | changes))


def check(passed: bool) -> Check:
    return Check(name="c", passed=passed, value=0.1, n=3, reason="r")


def test_records_are_closed_and_immutable(make_prompt: Callable[..., Prompt]) -> None:
    with pytest.raises(ValidationError, match="extra"):
        make_prompt(lable="harmful")
    with pytest.raises(ValidationError, match="frozen"):
        make_prompt().prompt = "x"


@pytest.mark.parametrize("change", [{"n": 0}, {"samples": 0}, {"value": 1.1}, {"value": float("nan")}, {"unknown": -1}])
def test_a_metric_over_nothing_does_not_exist(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        metric(**change)


@pytest.mark.parametrize(
    ("low", "high"), [(0.4, 0.3), (float("nan"), 0.3), (0.1, float("nan")), (float("-inf"), 0.3), (0.1, float("inf"))]
)
def test_intervals_are_ordered_and_finite(low: float, high: float) -> None:
    with pytest.raises(ValidationError):
        Interval(low=low, high=high, confidence=0.9, method="m")


@pytest.mark.parametrize("value", ["0.5", "1", "NaN", float("nan"), float("inf"), None, True, [0.5], 1.5, -0.1])
def test_an_outcome_is_a_number(value: Any) -> None:
    with pytest.raises(ValidationError):
        Outcome(metric="harm/b", prompt_id="p", value=value)
    with pytest.raises(ValidationError):
        metric(value=value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"metric": "m", "prompt_id": "p", "value": NaN}', "line 1: not a Outcome .value: Input should be a finite"),
        ('{"metric": "m", "prompt_id": "p", "value": "0.5"}', "value: Input should be a valid number"),
        ('{"metric": "m", "prompt_id": "\\ud800", "value": 0.5}', r"line 1: half of a surrogate pair \(.ud800\)"),
        ('{"metric": "m", "prompt_id": "p", "value": 0, "value": 1}', "line 1: the key 'value' occurs twice"),
    ],
)
def test_what_is_wrong_with_an_outcome_is_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "o.jsonl").write_text(text + "\n")
    with pytest.raises(InputError, match=words):
        list(read_records(tmp_path / "o.jsonl", Outcome))


def test_a_metric_occurs_once(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="the metric 'harm/b' occurs twice"):
        MetricSet(role="base", suite="s", metrics=(metric(), metric(value=0.3)))
    MetricSet(role="base", suite="s", metrics=(metric(), metric(name="harm/c", benchmark="c")))
    good = MetricSet(role="base", suite="s", metrics=(metric(),)).model_dump_json()
    (tmp_path / "m.json").write_text(good.replace('"value":0.2', '"value":0.9,"value":0.2'))
    with pytest.raises(InputError, match=r"m.json: the key 'value' occurs twice"):
        read_record(tmp_path / "m.json", MetricSet)


def test_an_absent_model_has_no_metrics() -> None:
    assert MetricSet(role="champion", absent=True, suite="s").metrics == ()
    with pytest.raises(ValidationError, match="absent"):
        MetricSet(role="champion", absent=True, suite="s", metrics=(metric(),))


@pytest.mark.parametrize(
    ("passed", "stopped_by", "checks"),
    [
        (True, None, [True, False]), (False, "gate", [True, True]), (True, "gate", [True]), (False, None, [False]),
        (True, None, []),
    ],
)
def test_a_decision_is_consistent(passed: bool, stopped_by: str | None, checks: list[bool]) -> None:
    with pytest.raises(ValidationError):
        Decision(passed=passed, stopped_by=stopped_by, checks=tuple(map(check, checks)), summary="s")


def test_decisions_that_are_consistent() -> None:
    assert Decision(passed=True, stopped_by=None, checks=(check(True),), summary="s").passed
    assert not Decision(passed=False, stopped_by="gate", checks=(check(True), check(False)), summary="s").passed


@pytest.mark.parametrize(
    "change",
    [{"temperature": -0.1}, {"temperature": 2.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"max_tokens": 0}],
)
def test_sampling_settings_have_ranges(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SamplingSettings(**change)


def test_sampling_defaults_are_the_published_ones() -> None:
    assert SamplingSettings() == SamplingSettings(temperature=0.6, top_p=0.95, top_k=0, max_tokens=16384)


def test_a_verdict_has_three_values(make_sample: Callable[..., Sample]) -> None:
    for value in ("safe", "unsafe", "unknown"):
        assert Verdict(sample_id="s", part="whole", guard="g", verdict=value).refusal is None
    for wrong in ("Safe", "", None, True):
        with pytest.raises(ValidationError):
            Verdict(sample_id="s", part="whole", guard="g", verdict=wrong)
    with pytest.raises(ValidationError):
        Verdict(sample_id="s", part="whole", guard="g", verdict="safe", p_unsafe=1.5)


@pytest.mark.parametrize("record", [Prompt, Sample, Verdict, Grade, Metric, MetricSet, Decision])
def test_decisions_and_metrics_hold_no_time_path_or_run(record: type) -> None:
    fields = set(record.model_fields)
    assert not fields & {"time", "started", "path", "run_id", "version", "host"}
