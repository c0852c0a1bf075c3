"""The second guard's matrix and the note about one guard doing both, on the page and in the terminal."""

from __future__ import annotations

import io
from typing import Any

import report_runs as runs
from rich.console import Console

from thinksafe.measuring.disagreement import VALUES
from thinksafe.registry.tracking import metric_values
from thinksafe.report import agreement, render_page
from thinksafe.report.summary import RunSummary, summarise
from thinksafe.report.terminal import run_table

MATRIX = [[31, 2, 1], [3, 4, 0], [0, 0, 0]]


def with_second_guard(name: str = "wildguard") -> RunSummary:
    records = runs.promoted()
    record = records["metrics-candidate"]
    interval = record.details["metrics"]["metrics"][0]["interval"]
    found: dict[str, Any] = {
        "name": "disagreement/harmbench", "benchmark": "harmbench", "guard": "refusal-match", "second": name,
        "value": 6 / 41, "n": 41, "samples": 41, "matrix": MATRIX, "interval": interval,
    }
    metrics = record.details["metrics"] | {"disagreements": [found]}
    records["metrics-candidate"] = record.model_copy(update={"details": {"metrics": metrics}})
    counts = {f"second_{one}_{two}": 8 if one == two else 4 for one in VALUES for two in VALUES}
    record = records["judge-training"]
    details = record.details | {"second_guard": name, "second_guard_digest": "d"}
    update = {"counts": record.counts | counts, "details": details}
    records[record.task] = record.model_copy(update=update)
    return summarise(records)


def test_rows_of_the_candidate_and_of_training() -> None:
    candidate, training = agreement.disagreements(with_second_guard())
    assert [cell.text for cell in candidate.cells] == [str(n) for row in MATRIX for n in row]
    assert candidate.rate.text.startswith("14.6")
    assert (training.model, training.n.text) == ("Training", "48")
    assert training.rate.text == "66.7\N{NO-BREAK SPACE}%", "two unknowns confirm nothing"


def test_the_page_and_provenance_name_the_second_guard() -> None:
    summary = with_second_guard()
    page = render_page(summary)
    assert 'id="second-guard-caption"' in page
    assert "then of the second (wildguard)" in page
    assert summary.provenance.guards["second"] == {"name": "wildguard", "digest": "d"}
    assert dict(metric_values(summary.metrics["candidate"]))["disagreement/harmbench"] == 6 / 41
    assert 'id="second-guard-caption"' not in render_page(summarise(runs.promoted()))


def test_the_page_shows_what_the_members_of_a_panel_say() -> None:
    records = runs.promoted()
    record = records["judge-candidate"]
    name = "panel (majority): qwen3guard, <b>other</b>"
    counts = {f"member_0_{one}_{two}": 8 if one == two else 0 for one in VALUES for two in VALUES}
    counts |= {f"member_1_{one}_{two}": 4 if two == "safe" else 0 for one in VALUES for two in VALUES}
    for task in [task for task in records if task.startswith("judge-")]:
        records[task] = records[task].model_copy(update={"details": record.details | {"guard": name}})
    records["judge-candidate"] = records["judge-candidate"].model_copy(update={"counts": record.counts | counts})
    summary = summarise(records)
    rows = agreement.panels(summary)
    assert [(row.model, row.benchmark, row.n.text) for row in rows] == [
        ("Candidate", "qwen3guard", "24"), ("Candidate", "<b>other</b>", "12"),
    ]
    assert [row.rate.text for row in rows] == ["33.3\N{NO-BREAK SPACE}%", "66.7\N{NO-BREAK SPACE}%"]
    page = render_page(summary)
    assert 'id="panel-caption"' in page
    assert "<b>other" not in page
    assert 'id="panel-caption"' not in render_page(summarise(runs.promoted()))


def test_a_hostile_name_is_escaped() -> None:
    assert "<script>alert" not in render_page(with_second_guard("<script>alert(1)</script>"))


def test_one_guard_for_both_is_said_in_decision_page_and_terminal() -> None:
    summary = summarise(runs.promoted())
    assert summary.decision is not None
    (note,) = summary.decision.notes
    assert note.startswith("One guard (refusal-match) filtered the training samples and judged the evaluation")
    assert note in render_page(summary)
    out = io.StringIO()
    Console(file=out, width=400).print(run_table(summary))
    assert f"Note: {note}" in out.getvalue()
