from __future__ import annotations

import io

import hostile_runs
import pytest
import report_runs as runs
from rich.console import Console

from thinksafe.report import Places, run_table
from thinksafe.report.summary import summarise
from thinksafe.run.record import StageRecord


def shown(records: dict[str, StageRecord], places: Places | None = None, width: int = 120) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(run_table(summarise(records), places or Places()))
    return stream.getvalue()


def test_promoted() -> None:
    text = shown(runs.promoted(), Places("store/reports/r/report.html", "store/promotions/m/000004.json", "sqlite:///x.db"))
    assert "✓ Promoted" in text
    assert "48.2\u00a0% [44.0, 52.5]  3.0\u00a0% [1.7, 4.8]" in text
    assert "59.7\u00a0% [57.6, 62.0]" in text
    for place in ("qwen3-safe version 7", "generation 4", "store/reports/r/report.html", "000004.json", "sqlite:///x.db"):
        assert place in text
    assert "sample-training" in text
    assert "6 h 0 min" in text


def test_every_check_has_its_reason() -> None:
    records = runs.refused()
    decision = summarise(records).decision
    assert decision is not None
    text = shown(records, width=400)
    for check in decision.checks:
        assert check.reason in text
    assert text.count("FAIL") == sum(not check.passed for check in decision.checks)


@pytest.mark.parametrize("outcome", runs.ALL)
def test_every_outcome_fits_a_narrow_terminal(outcome: str) -> None:
    assert max(len(line.rstrip()) for line in shown(runs.ALL[outcome](), width=80).splitlines()) <= 80


def test_a_failed_run_says_what_to_do() -> None:
    text = shown(runs.failed())
    assert "train: The example 'safechain-harmful-0193/steered/0' has no end-of-sequence token." in text
    assert "Use a chat template from the vetted list" in text


def test_markup_and_controls_are_shown_not_obeyed() -> None:
    text = shown(hostile_runs.hostile("[bold red]x[/] \x1b[31m"), width=400)
    assert "[bold red]x[/]" in text
    assert "\x1b" not in text
