"""The paper's rows: of the same student only, labelled, and out of the run's own numbers."""

from __future__ import annotations

import pytest
import report_runs as runs

from thinksafe.report import render_page
from thinksafe.report.literature import STUDENTS, literature
from thinksafe.report.summary import RunSummary, summarise
from thinksafe.report.tables import Cell


def of(student: str, method: str = "thinksafe") -> RunSummary:
    """Return the promoted run of another student and method."""
    summary = summarise(runs.promoted())
    config = summary.provenance.config
    changed = config | {"student": config["student"] | {"model": student}, "method": {"kind": method}}
    return summary.model_copy(update={"provenance": summary.provenance.model_copy(update={"config": changed})})


def numbers(student: str, method: str = "thinksafe") -> dict[str, tuple[Cell, ...]]:
    """Return the cells by benchmark."""
    table = literature(of(student, method))
    assert table is not None
    assert table.columns[0] == "Initial"
    assert all(len(row.cells) == len(table.columns) for row in table.rows)
    return {row.names[0]: row.cells for row in table.rows}


@pytest.mark.parametrize("student", STUDENTS)
def test_every_published_student_has_its_numbers_before_and_after(student: str) -> None:
    found = numbers(student)
    before, after = found["Safety average"]
    assert 0.6 > float(before.value) > float(after.value), "shares, not percent"
    assert all(cell.text.endswith(" %") for cell in found["Average pass@1"])


def test_the_numbers_are_the_papers() -> None:
    found = numbers("Qwen/Qwen3-0.6B", "direct-refusal")
    assert [cell.text for cell in found["HarmBench"]] == ["68.44 %", "43.85 %"]
    assert [cell.text for cell in found["XSTest over-refusal"]] == ["5.20 %", "83.60 %"]
    assert [cell.text for cell in found["Average pass@1"]] == ["44.95 %", "40.62 %"]


def test_other_students_have_none_and_other_methods_only_the_start() -> None:
    assert literature(of("/models/our-model")) is None
    assert literature(of("micro://default")) is None
    assert {len(cells) for cells in numbers("Qwen/Qwen3-8B", "rejection").values()} == {1}


def test_the_page_says_that_they_were_not_measured_here() -> None:
    page = render_page(of("Qwen/Qwen3-8B"))
    assert "Published for this student" in page
    assert "not measured here" in page
    assert "Published for this student" not in render_page(of("/models/our-model"))
