"""grade: problems have grades, other samples have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import GradeSection
from thinksafe.records import Grade, Prompt, Sample
from thinksafe.run.formats import FORMATS
from thinksafe.run.manifests import Manifest, read_manifest, read_rows
from thinksafe.run.record import StageContext, StageResult
from thinksafe.stages import grade
from thinksafe.store.local import LocalStore

SECTION = GradeSection(reasoning="think")


@pytest.fixture
def run(
    tmp_path: Path, make_context: Callable[..., StageContext], store: LocalStore, write_rows: Callable[..., Path]
) -> Callable[..., tuple[StageResult, list[Grade]]]:
    def graded(*chunks: list[Sample], section: GradeSection = SECTION) -> tuple[StageResult, list[Grade]]:
        out = tmp_path / "grades.json"
        result = grade.run(make_context("grade"), section, write_rows("samples", *chunks), grades_out=out)
        return result, list(read_rows(store, read_manifest(out), Grade))

    return graded


@pytest.fixture
def problem(make_prompt: Callable[..., Prompt]) -> Prompt:
    return make_prompt("p", answer="72")


def test_problems_are_graded_and_counted(
    run: Callable[..., Any], make_sample: Callable[..., Sample], problem: Prompt
) -> None:
    result, grades = run(
        [make_sample(problem, "a</think>72", index=0), make_sample(problem, "a</think>71", index=1), make_sample()],
        [make_sample(problem, "<think>72", index=2, finish="length")],
        [make_sample(index=3)],
    )
    assert [(g.sample_id, g.correct, g.truncated) for g in grades] == [
        ("p/plain/0", True, False), ("p/plain/1", False, False), ("p/plain/2", False, True),
    ]
    assert result.counts == {"rows": 3, "chunks": 3, "chunks_reused": 0, "correct": 1, "truncated": 1}


def test_finished_chunks_are_reused_and_counted_again(
    run: Callable[..., Any], make_sample: Callable[..., Sample], problem: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [make_sample(problem, "a</think>72")]
    first, _ = run(samples)
    again, _ = run(samples)
    assert again.counts == first.counts | {"chunks_reused": 1}
    assert run(samples, section=GradeSection(reasoning="none"))[0].counts["chunks_reused"] == 0
    monkeypatch.setitem(FORMATS, "grade", replace(FORMATS["grade"], number=99))
    assert run(samples)[0].counts["chunks_reused"] == 0
    monkeypatch.setattr(grade, "library_versions", lambda *names: dict.fromkeys(names, "9.9"))
    assert run(samples)[0].counts["chunks_reused"] == 0


def test_an_absent_model_passes_on(
    make_context: Callable[..., StageContext], write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    grade.run(make_context("grade"), SECTION, write_rows("samples", absent=True), grades_out=tmp_path / "g.json")
    assert read_manifest(tmp_path / "g.json") == Manifest(kind="grades", absent=True, total=0, model="m")
