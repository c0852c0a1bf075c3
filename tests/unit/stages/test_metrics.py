from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metric_rows import SETTINGS, Rows, Stage, sample, verdict

from thinksafe.errors import StageError
from thinksafe.records import (
    MetricSet,
    SamplingSettings,
)
from thinksafe.run.details import MetricsDetails
from thinksafe.run.record import list_records


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_problems_may_have_their_own_settings(stage: Stage) -> None:
    own, rows = SamplingSettings(max_tokens=200), Rows.whole()
    with pytest.raises(StageError, match="'gsm8k-0/plain/0' was drawn with other sampling settings"):
        stage(rows, own=own)
    graded = [row.model_copy(update={"settings": own}) if row.prompt.answer else row for row in rows.samples]
    found, _, _ = stage(Rows(graded, rows.verdicts, rows.grades), own=own)
    assert {m.kind: m.settings for m in found.metrics} == {"harm": SETTINGS, "over_refusal": SETTINGS, "reasoning": own}


def test_values_counts_and_settings(stage: Stage) -> None:
    found, outcomes, result = stage(Rows.whole())
    values = {m.name: m.value for m in found.metrics}
    assert values == {"harm/harmbench": 0.25, "over_refusal/xstest": 0.25, "reasoning/gsm8k": 0.75}
    assert all((m.n, m.samples, m.unknown, m.truncated, m.settings) == (4, 4, 0, 0, SETTINGS) for m in found.metrics)
    assert all(m.interval.confidence == 0.9 and m.interval.low < m.value < m.interval.high for m in found.metrics)
    assert [(row.metric, row.prompt_id, row.value) for row in outcomes][:5] == [
        ("harm/harmbench", "harmbench-0", 1.0), ("harm/harmbench", "harmbench-1", 0.0),
        ("harm/harmbench", "harmbench-2", 0.0), ("harm/harmbench", "harmbench-3", 0.0),
        ("over_refusal/xstest", "xstest-0", 1.0),
    ]
    assert result.details == MetricsDetails(metrics=found)
    record = list_records(stage.store, "run").found["metrics-candidate"]
    assert record.status == "succeeded"
    assert record.counts == {"rows": 12, "prompts": 12}


def test_a_prompt_is_the_mean_over_its_samples(stage: Stage) -> None:
    rows = Rows.whole()
    for i in range(4):
        for index in range(1, 4):
            rows.judge(sample("harmbench", i, index), "safe", True)
            rows.grade(sample("gsm8k", i, index), False)
    found, outcomes, _ = stage(rows)
    by_name = {m.name: m for m in found.metrics}
    harm = by_name["harm/harmbench"]
    assert (harm.value, harm.n, harm.samples) == (1 / 16, 4, 16)
    assert by_name["reasoning/gsm8k"].value == pytest.approx(3 / 16)
    assert [row.value for row in outcomes if row.metric == "harm/harmbench"] == [0.25, 0, 0, 0]


def test_unknown_is_a_failure_and_is_counted(stage: Stage) -> None:
    rows = Rows()
    verdicts = [("unknown", None), ("unknown", False), ("safe", None), ("unsafe", True), ("safe", False)]
    for i, (value, refusal) in enumerate(verdicts):
        rows.judge(sample("harmbench", i), value, refusal)
        rows.judge(sample("xstest", i), value, refusal)
        rows.grade(sample("gsm8k", i), True)
    found, outcomes, _ = stage(rows)
    by_name = {m.name: m for m in found.metrics}
    assert (by_name["harm/harmbench"].value, by_name["harm/harmbench"].unknown) == (3 / 5, 2)
    assert (by_name["over_refusal/xstest"].value, by_name["over_refusal/xstest"].unknown) == (4 / 5, 3)
    assert [row.value for row in outcomes if row.metric == "over_refusal/xstest"] == [1, 1, 1, 1, 0]


def test_all_unknown(stage: Stage) -> None:
    rows = Rows.whole()
    rows.verdicts = [v.model_copy(update={"verdict": "unknown", "refusal": None}) for v in rows.verdicts]
    found, _, _ = stage(rows)
    assert [m.value for m in found.metrics] == [1.0, 1.0, 0.75]
    assert [m.unknown for m in found.metrics] == [4, 4, 0]


def test_parts_are_scored_apart(stage: Stage) -> None:
    rows = Rows.whole()
    for of in rows.samples:
        if of.prompt.source != "gsm8k":
            rows.verdicts.append(verdict(of, "unsafe", part="thought"))
            rows.verdicts.append(verdict(of, "unknown", part="answer"))
    found, _, _ = stage(rows, parts=("whole", "thought", "answer"))
    assert {m.name: (m.value, m.part, m.unknown) for m in found.metrics} == {
        "harm/harmbench": (0.25, "whole", 0), "harm/harmbench/thought": (1.0, "thought", 0),
        "harm/harmbench/answer": (1.0, "answer", 4), "over_refusal/xstest": (0.25, "whole", 0),
        "reasoning/gsm8k": (0.75, "whole", 0),
    }


def test_truncated(stage: Stage) -> None:
    rows = Rows.whole()
    rows.samples = [
        s.model_copy(update={"finish": "length"}) if s.id == "harmbench-1/plain/0" else s for s in rows.samples
    ]
    rows.grades = [g.model_copy(update={"truncated": not g.correct}) for g in rows.grades]
    found, _, _ = stage(rows)
    assert [m.truncated for m in found.metrics] == [1, 0, 1]


def test_same_result_whatever_the_chunks_and_the_order(stage: Stage) -> None:
    first = stage(Rows.whole())
    rows = Rows.whole()
    for one in (rows.samples, rows.verdicts, rows.grades):
        random.Random(3).shuffle(one)  # type: ignore[arg-type]
    again = stage(rows, sizes=(1, 100, 3))
    assert first[:2] == again[:2]


def test_metrics_hold_no_run_or_time(stage: Stage) -> None:
    stage(Rows.whole())
    text = (stage.folder / "metrics.json").read_text()
    assert '"run"' not in text
    assert str(stage.folder) not in text


class TestSuite:
    def test_depends_on_prompts_and_configuration_only(self, stage: Stage) -> None:
        first = stage(Rows.whole())[0].suite
        better = Rows.whole()
        better.verdicts = [v.model_copy(update={"verdict": "safe"}) for v in better.verdicts]
        assert stage(better, role="base")[0].suite == first
        assert stage(Rows.whole(), suite="other")[0].suite != first

    @pytest.mark.parametrize("fields", [{"prompt": "other text"}, {"answer": "8"}])
    def test_notices_a_changed_prompt(self, stage: Stage, fields: dict[str, str]) -> None:
        first = stage(Rows.whole())[0].suite
        rows = Rows.whole()
        rows.samples[2] = rows.samples[2].model_copy(
            update={"prompt": rows.samples[2].prompt.model_copy(update=fields)}
        )
        assert stage(rows)[0].suite != first

    def test_notices_a_missing_prompt(self, stage: Stage) -> None:
        first = stage(Rows.whole())[0].suite
        rows = Rows.whole()
        gone = rows.samples.pop(0)
        rows.verdicts = [v for v in rows.verdicts if v.sample_id != gone.id]
        assert stage(rows)[0].suite != first


def test_absent_model_passes_through(stage: Stage) -> None:
    absent = {"absent": True, "total": 0}
    fields = {"samples": absent, "verdicts": absent, "grades": absent}
    found, outcomes, result = stage(Rows(), fields=fields, role="champion")
    assert found == MetricSet(role="champion", absent=True, suite="suite")
    assert outcomes == []
    assert result.counts == {"rows": 0, "prompts": 0}


def drop_verdict(rows: Rows) -> None:
    del rows.verdicts[3]


def drop_grade(rows: Rows) -> None:
    del rows.grades[0]


def drop_sample(rows: Rows) -> None:
    del rows.samples[0]


def repeat_verdict(rows: Rows) -> None:
    rows.verdicts.append(rows.verdicts[0])


def repeat_grade(rows: Rows) -> None:
    rows.grades.append(rows.grades[0])


def repeat_sample(rows: Rows) -> None:
    rows.samples.append(rows.samples[0])


def steer(rows: Rows) -> None:
    rows.samples[0] = rows.samples[0].model_copy(update={"arm": "steered"})


def other_settings(rows: Rows) -> None:
    rows.samples[0] = rows.samples[0].model_copy(update={"settings": SamplingSettings(max_tokens=99)})


def other_guard(rows: Rows) -> None:
    rows.verdicts[1] = rows.verdicts[1].model_copy(update={"guard": "h"})


def same_id(rows: Rows) -> None:
    other = sample("harmbench", 0, 1)
    prompt = other.prompt.model_copy(update={"prompt": "a secret text"})
    rows.judge(other.model_copy(update={"prompt": prompt}), "safe", True)


def uneven(rows: Rows) -> None:
    rows.judge(sample("xstest", 0, 1), "safe", False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_verdict, r"1 of 12 samples have no verdict or grade \(first 'xstest-1/plain/0'\)"),
        (drop_grade, r"1 of 12 samples have no verdict or grade \(first 'gsm8k-0/plain/0'\)"),
        (drop_sample, "a verdict for 'harmbench-0/plain/0', which is not a sample"),
        (repeat_verdict, "two verdicts for sample 'harmbench-0/plain/0'"),
        (repeat_grade, "two grades for sample 'gsm8k-0/plain/0'"),
        (repeat_sample, "'harmbench-0/plain/0' occurs twice"),
        (steer, "is steered"),
        (other_settings, "other sampling settings"),
        (other_guard, "another guard"),
        (same_id, "two different prompts have the id 'harmbench-0'"),
        (uneven, "'xstest' have 1 to 2 samples"),
    ],
)
def test_rows_that_do_not_belong_together(stage: Stage, spoil: Callable[[Rows], None], message: str) -> None:
    rows = Rows.whole()
    spoil(rows)
    with pytest.raises(StageError, match=message) as caught:
        stage(rows)
    assert "secret" not in str(caught.value)
    record = list_records(stage.store, "run").found["metrics-candidate"]
    assert (record.status, record.error) == ("failed", caught.value.problem)
    assert not (stage.folder / "metrics.json").exists()


def test_every_missing_part_is_missed(stage: Stage) -> None:
    with pytest.raises(StageError, match="4 of 12 samples have no verdict"):
        stage(Rows.whole(), parts=("whole", "answer"))


def test_a_benchmark_without_samples_is_an_error(stage: Stage) -> None:
    rows = Rows.whole()
    rows.samples = [s for s in rows.samples if s.prompt.source != "gsm8k"]
    rows.grades = []
    with pytest.raises(StageError, match="'gsm8k' has no samples"):
        stage(rows)


def test_no_samples_at_all_are_an_error(stage: Stage) -> None:
    with pytest.raises(StageError, match="has no samples"):
        stage(Rows())


def test_samples_of_no_benchmark_are_an_error(stage: Stage) -> None:
    with pytest.raises(StageError, match="'gsm8k', which is not a benchmark"):
        stage(Rows.whole(), benchmarks=("harmbench", "xstest"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"verdicts": {"model": "other"}}, "different models"),
        ({"grades": {"absent": True, "chunks": [], "total": 0}}, "different models"),
        ({"verdicts": {"kind": "grades"}}, "The verdicts manifest contains grades"),
    ],
)
def test_manifests_that_do_not_belong_together(
    stage: Stage, fields: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(StageError, match=message):
        stage(Rows.whole(), fields=fields)


THOUGHT, ANSWERED = "<think>a b c", "<think>a b c</think>d"


@pytest.mark.parametrize(
    ("response", "finish", "reasoning", "cut", "failed"),
    [
        (ANSWERED, "stop", "think", False, False), (ANSWERED, "length", "think", True, False),
        ("a</think>b", "stop", "think", False, False), ("a</think>", "stop", "think", False, False),
        (THOUGHT, "stop", "think", True, True), (THOUGHT, "length", "think", True, True),
        ("no tags", "stop", "think", True, True), ("", "stop", "think", True, True),
        ("no tags", "stop", "none", False, False), ("no tags", "length", "none", True, False),
        (THOUGHT, "stop", "none", False, False), ("", "stop", "none", False, False),
    ],
)
@pytest.mark.parametrize("value", ["safe", "unsafe", "unknown"])
def test_a_response_without_an_answer_is_incomplete_whatever_the_guard_says(
    stage: Stage, response: str, finish: str, reasoning: str, cut: bool, failed: bool, value: str
) -> None:
    rows = Rows()
    for i in range(40):
        rows.judge(sample("harmbench", i, response=response, finish=finish), value, False)
        rows.judge(sample("xstest", i, response=response, finish=finish), value, None if value == "unknown" else False)
    found, outcomes, _ = stage(rows, benchmarks=("harmbench", "xstest"), reasoning=reasoning)
    harm, refusal = found.metrics
    assert [harm.truncated, refusal.truncated] == [40 * cut] * 2
    assert harm.value == (failed or value != "safe")
    assert refusal.value == (failed or value == "unknown")
    assert [harm.unknown, refusal.unknown] == [40 * (value == "unknown")] * 2
    assert {row.value for row in outcomes if row.metric.startswith("harm")} == {harm.value}


@pytest.mark.parametrize(
    ("options", "guessing"), [((0, 0), 0.0), ((4, 4), 0.25), ((2, 4), 0.375), ((0, 4), 0.125), ((26, 26), 1 / 26)]
)
def test_what_guessing_would_give(stage: Stage, options: tuple[int, int], guessing: float) -> None:
    rows = Rows()
    for i, number in enumerate(options):
        for index in range(3):
            row = sample("gsm8k", i, index)
            letter = {"answer": "A", "options": number} if number else {}
            rows.grade(row.model_copy(update={"prompt": row.prompt.model_copy(update=letter)}), correct=True)
    found, _, _ = stage(rows, benchmarks=("gsm8k",))
    assert found.metrics[0].guessing == pytest.approx(guessing)
    assert ("guessing" in found.metrics[0].model_dump_json()) == (guessing > 0)
