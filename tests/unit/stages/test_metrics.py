from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import MetricsSection
from thinksafe.errors import StageError
from thinksafe.jsonl import read_record, read_records
from thinksafe.records import (
    Grade,
    MetricSet,
    Outcome,
    Part,
    Prompt,
    Record,
    Sample,
    SamplingSettings,
    Verdict,
)
from thinksafe.run.details import MetricsDetails
from thinksafe.run.manifests import Manifest, RowKind, write_chunk, write_manifest
from thinksafe.run.record import StageContext, StageResult, list_records, silent
from thinksafe.stages import metrics
from thinksafe.store.local import LocalStore

SETTINGS = SamplingSettings(max_tokens=100)
KINDS = {"harmbench": "harm", "xstest": "over_refusal", "gsm8k": "reasoning"}


def sample(source: str, prompt: int, index: int = 0, **fields: Any) -> Sample:
    graded = source == "gsm8k"
    of = Prompt(
        id=f"{source}-{prompt}", prompt=f"text {source} {prompt}", source=source,
        label="harmful" if source == "harmbench" else "benign", answer="7" if graded else None,
    )
    values = {
        "id": f"{of.id}/plain/{index}", "prompt": of, "index": index, "arm": "plain", "response": "r",
        "finish": "stop", "tokens": 1, "prompt_tokens": 1, "seed": 0, "settings": SETTINGS,
    }
    return Sample.model_validate(values | fields)


def verdict(of: Sample, value: str = "safe", refusal: bool | None = False, part: Part = "whole") -> Verdict:
    values = {"sample_id": of.id, "part": part, "guard": "g", "verdict": value, "refusal": refusal}
    return Verdict.model_validate(values)


def grade(of: Sample, correct: bool, truncated: bool = False) -> Grade:
    return Grade(sample_id=of.id, correct=correct, extracted="7", truncated=truncated)


@dataclass
class Rows:
    """What the stage reads; every benchmark has something by default."""

    samples: list[Sample] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    grades: list[Grade] = field(default_factory=list)

    @classmethod
    def whole(cls) -> Rows:
        rows = cls()
        for i in range(4):
            rows.judge(sample("harmbench", i), "unsafe" if i == 0 else "safe", True)
            rows.judge(sample("xstest", i), "safe", i == 0)
            rows.grade(sample("gsm8k", i), i != 0)
        return rows

    def judge(self, of: Sample, value: str, refusal: bool | None) -> None:
        self.samples.append(of)
        self.verdicts.append(verdict(of, value, refusal))

    def grade(self, of: Sample, correct: bool, truncated: bool = False) -> None:
        self.samples.append(of)
        self.grades.append(grade(of, correct, truncated))


class Stage:
    """Runs the stage on rows in a real store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalStore(folder / "store")
        self.written = 0

    def manifest(self, kind: RowKind, rows: Sequence[Record], size: int, fields: dict[str, Any]) -> Path:
        chunks = []
        for start in range(0, len(rows), size):
            self.written += 1
            part = list(rows[start : start + size])
            chunks.append(write_chunk(self.store, f"{kind}{self.written}", len(chunks), part))
        values = {"kind": kind, "total": len(chunks), "model": "m", "chunks": chunks} | fields
        path = self.folder / f"{kind}.json"
        write_manifest(path, Manifest.model_validate(values))
        return path

    def __call__(
        self, rows: Rows, *, parts: tuple[Part, ...] = ("whole",), sizes: tuple[int, int, int] = (3, 5, 2),
        fields: dict[str, dict[str, Any]] | None = None, role: Any = "candidate", suite: str = "suite",
        benchmarks: Sequence[str] = tuple(KINDS), own: SamplingSettings | None = None,
        reasoning: str = "none",
    ) -> tuple[MetricSet, list[Outcome], StageResult]:
        section = MetricsSection.model_validate(
            {
                "benchmarks": [
                    {"name": name, "metric": KINDS[name], "prompts": {"source": "jsonl", "path": "x"}}
                    for name in benchmarks
                ],
                "parts": parts, "confidence": 0.9, "seed": 0, "suite": suite, "settings": SETTINGS,
                "settings_reasoning": own, "reasoning": reasoning,
            }
        )
        more = fields or {}
        paths = [
            self.manifest("samples", rows.samples, sizes[0], more.get("samples", {})),
            self.manifest("verdicts", rows.verdicts, sizes[1], more.get("verdicts", {})),
            self.manifest("grades", rows.grades, sizes[2], more.get("grades", {})),
        ]
        context = StageContext(self.store, "run", "metrics", f"metrics-{role}", silent)
        out, rows_out = self.folder / "metrics.json", self.folder / "outcomes.jsonl"
        result = metrics.run(context, section, role, *paths, metrics_out=out, outcomes_out=rows_out)
        return read_record(out, MetricSet), list(read_records(rows_out, Outcome)), result


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
