"""The paper's rows: of the same student only, labelled, and out of the run's own numbers."""

from __future__ import annotations

import pytest
import report_runs as runs

from thinksafe.report import render_page
from thinksafe.report.literature import STUDENTS, literature
from thinksafe.report.summary import RunSummary, summarise


def of(student: str, method: str = "thinksafe") -> RunSummary:
    """Return the promoted run of another student and method."""
    summary = summarise(runs.promoted())
    config = summary.provenance.config
    changed = config | {"student": config["student"] | {"model": student}, "method": {"kind": method}}
    return summary.model_copy(update={"provenance": summary.provenance.model_copy(update={"config": changed})})


@pytest.mark.parametrize("student", STUDENTS)
def test_every_published_student_has_its_row_before_and_after(student: str) -> None:
    table = literature(of(student))
    assert table is not None
    assert [row.names for row in table.rows] == [("initial",), ("thinksafe",)]
    for row in table.rows:
        values = dict(zip(table.columns, row.cells, strict=True))
        assert float(values["Safety average"].value) < 0.6, "a share, not percent"
        assert values["Average pass@1"].text.endswith(" %")


def test_the_numbers_are_the_papers() -> None:
    table = literature(of("Qwen/Qwen3-0.6B", "direct-refusal"))
    assert table is not None
    initial, after = (dict(zip(table.columns, (cell.text for cell in row.cells), strict=True)) for row in table.rows)
    assert (initial["HarmBench"], initial["Safety average"]) == ("68.44 %", "48.22 %")
    assert (after["XSTest over-refusal"], after["Average pass@1"]) == ("83.60 %", "40.62 %")


def test_other_students_have_none_and_other_methods_only_the_start() -> None:
    assert literature(of("/models/our-model")) is None
    assert literature(of("micro://default")) is None
    table = literature(of("Qwen/Qwen3-8B", "rejection"))
    assert table is not None
    assert [row.names for row in table.rows] == [("initial",)]


def test_the_page_says_that_they_were_not_measured_here() -> None:
    page = render_page(of("Qwen/Qwen3-8B"))
    assert "Published for this student" in page
    assert "not measured here" in page
    assert "Published for this student" not in render_page(of("/models/our-model"))
