"""monitor: like is compared with like, and what cannot be compared raises no alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.gate import GateSettings
from thinksafe.config.sections import MonitorSection
from thinksafe.jsonl import read_record, write_json, write_records
from thinksafe.measuring.statistics import proportion
from thinksafe.models.references import ModelReference
from thinksafe.records import Decision, Metric, MetricSet, Outcome, Prompt, Role, Sample, SamplingSettings
from thinksafe.registry import evaluations
from thinksafe.run.manifests import Manifest, rows_key, save_manifest, write_chunk, write_manifest
from thinksafe.run.record import StageContext, StageResult, silent
from thinksafe.settings import StudentSettings
from thinksafe.stages import monitor
from thinksafe.store.local import LocalStore

MODEL = ModelReference(role="evaluated", student=StudentSettings(model="micro://x"), base_digest="b")
N = 200
SAME = {"sampler": "s1", "guard": "g1", "grader": "r1"}


class Runs:
    """Evaluations of one model, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.section = folder, LocalStore(folder / "store"), MonitorSection(
            gate=GateSettings(), alarm=AlarmSettings(), kinds=("reasoning",), reasoning_benchmarks=("gsm8k",), suite="p"
        )

    def measured(self, name: str, right: int, role: Role, suite: str = "s") -> tuple[Path, Path]:
        values = [1.0] * right + [0.0] * (N - right)
        estimate = proportion(values, 0.9)
        metric = Metric(
            name="reasoning/gsm8k", kind="reasoning", benchmark="gsm8k", value=right / N, n=N, samples=N,
            interval=estimate.interval, settings=SamplingSettings(),
        )
        write_json(self.folder / f"{name}.json", MetricSet(role=role, suite=suite, metrics=(metric,)))
        write_records(
            self.folder / f"{name}.jsonl",
            [Outcome(metric=metric.name, prompt_id=f"{i:04d}", value=value) for i, value in enumerate(values)],
        )
        return self.folder / f"{name}.json", self.folder / f"{name}.jsonl"

    def samples(self, run: str) -> Manifest:
        prompt = Prompt(id="1", prompt="x", label="benign", source="gsm8k", answer="1")
        row = Sample(
            id="1/plain/0", prompt=prompt, index=0, arm="plain", response=run, finish="stop", tokens=1, prompt_tokens=1,
            seed=0, settings=SamplingSettings(),
        )
        return Manifest(
            kind="samples", total=1, model=MODEL.digest, chunks=(write_chunk(self.store, f"key-{run}", 0, [row]),)
        )

    def __call__(
        self, run: str, right: int, instruments: dict[str, str], again: int | None = None, suite: str = "s"
    ) -> tuple[Decision, StageResult]:
        """Evaluate; ``again`` is how many of the last samples what measures now finds right, None: none are kept."""
        write_json(self.folder / "model.json", MODEL)
        measured = self.measured(run, right, "evaluated", suite)
        samples = self.samples(run)
        paths = []
        made_by = {"samples": ["sampler"], "verdicts": ["sampler", "guard", "second guard"], "grades": ["grader"]}
        for kind, known in made_by.items():
            of: Any = {name: instruments[name] for name in known if name in instruments}
            manifest = samples.model_copy(update={"kind": kind, "instruments": of})
            paths.append(self.folder / f"{run}-{kind}.json")
            write_manifest(paths[-1], manifest)
            save_manifest(self.store, manifest)
        if again is None:
            write_json(self.folder / "again.json", MetricSet(role="previous", absent=True, suite="p"))
            (self.folder / "again.jsonl").write_text("")
            previous = self.folder / "again.json", self.folder / "again.jsonl"
        else:
            previous = self.measured("again", again, "previous")
        result = monitor.run(
            StageContext(self.store, run, "monitor", "monitor", silent), self.section, self.folder / "model.json",
            *measured, *paths, *previous, decision_out=self.folder / "decision.json", passed_out=self.folder / "passed",
        )
        return read_record(self.folder / "decision.json", Decision), result


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def compared(decision: Decision) -> bool:
    return any(check.name == "regression/reasoning" for check in decision.checks)


@pytest.mark.parametrize(("right", "passes"), [(180, True), (175, True), (120, False)])
def test_with_the_same_instruments_a_loss_is_a_regression(runs: Runs, right: int, passes: bool) -> None:
    first, _ = runs("a", 180, SAME)
    assert (first.passed, compared(first), first.notes) == (True, False, ())
    # what is measured again is not looked at: it is the same
    second, result = runs("b", right, SAME, again=0)
    assert (second.passed, compared(second), second.notes) == (passes, True, ())
    assert result.details.changed == ()
    assert result.details.previous["number"] == 1


@pytest.mark.parametrize("name", ["grader", "guard", "second guard"])
@pytest.mark.parametrize(
    ("right", "again", "passes"), [(120, 120, True), (120, 125, True), (120, 180, False), (180, 120, True)]
)
def test_a_changed_instrument_measures_the_last_samples_again(
    runs: Runs, name: str, right: int, again: int, passes: bool
) -> None:
    runs("a", 180, SAME)
    decision, result = runs("b", right, SAME | {name: "other"}, again=again)
    assert (decision.passed, compared(decision)) == (passes, True)
    assert result.details.changed == (name,)
    assert result.details.previous_metrics.metrics[0].value == again / N
    (note,) = decision.notes
    assert "changed since evaluation 1" in note
    assert ("reasoning/gsm8k 90 % then" in note) == (again != 180)


@pytest.mark.parametrize(
    ("changes", "again", "word"),
    [
        ({"grader": "r2"}, None, "whose samples are not kept"), ({"guard": "g2"}, None, "whose samples are not kept"),
        ({"sampler": "s2"}, 180, "drawn otherwise"), ({"sampler": "s2", "grader": "r2"}, 180, "drawn otherwise"),
        ({"sampler": "s2"}, None, "drawn otherwise"),
    ],
)
def test_what_cannot_be_compared_is_a_new_baseline_without_an_alarm(
    runs: Runs, changes: dict[str, str], again: int | None, word: str
) -> None:
    runs("a", 180, SAME)
    now = SAME | changes
    decision, result = runs("b", 100, now, again=again)
    assert decision.passed
    assert not compared(decision)
    (note,) = decision.notes
    assert word in note
    assert "new baseline" in note
    assert "a new baseline" in decision.summary
    assert all(name in note for name in changes)
    assert (result.details.previous, result.details.previous_metrics) == (None, None)
    third, _ = runs("c", 60, now)
    assert not third.passed, "it is compared with the new baseline"
    assert runs("b", 100, now, again=again)[0] == decision, "a repeated attempt decides the same"


def test_an_evaluation_that_does_not_say_what_measured_it(runs: Runs) -> None:
    runs("a", 180, {})
    decision, _ = runs("b", 100, SAME, again=180)
    assert (decision.passed, compared(decision)) == (True, False)
    assert "Evaluation 1 does not say what measured it" in decision.notes[0]


class TestSamplesBefore:
    def test_they_are_those_of_the_newest_evaluation(self, runs: Runs) -> None:
        assert evaluations.samples_before(runs.store, MODEL, "p", "z").absent
        runs("a", 180, SAME)
        runs("b", 180, SAME)
        for run, found in (("z", "b"), ("b", "a")):
            kept = evaluations.samples_before(runs.store, MODEL, "p", run)
            assert kept.chunks == runs.samples(found).chunks
        assert evaluations.samples_before(runs.store, MODEL, "p", "a").absent
        assert evaluations.samples_before(runs.store, MODEL, "another suite", "z").absent
        other = MODEL.model_copy(update={"base_digest": "c"})
        assert evaluations.samples_before(runs.store, other, "p", "z").absent

    @pytest.mark.parametrize("lost", ["rows", "manifest"])
    def test_none_where_they_are_not_kept(self, runs: Runs, lost: str) -> None:
        runs("a", 180, SAME)
        manifest = runs.samples("a")
        assert not evaluations.samples_before(runs.store, MODEL, "p", "z").absent
        runs.store.delete(rows_key(manifest.chunks[0]) if lost == "rows" else f"manifests/{manifest.digest}.json")
        assert evaluations.samples_before(runs.store, MODEL, "p", "z").absent
