from __future__ import annotations

import io

import pytest
from rich.console import Console

from thinksafe_pipelines.local import display
from thinksafe_pipelines.local.display import Display
from thinksafe_pipelines.local.host import TaskOutcome


def outcome(task: str = "train", stage: str = "train", status: str = "succeeded", **more: str) -> TaskOutcome:
    return TaskOutcome(task, stage, status, 12.34, 0 if status == "succeeded" else 1, **more)  # type: ignore[arg-type]


def shown(*, terminal: bool = False) -> tuple[Display, io.StringIO]:
    stream = io.StringIO()
    return Display(Console(file=stream, width=100, force_terminal=terminal)), stream


def test_a_finished_task_gets_a_line() -> None:
    shows, stream = shown()
    with shows:
        shows.started("train", "train")
        shows.finished(outcome())
    assert stream.getvalue() == "  done        12.3 s  train\n"


def test_markup_and_controls_in_an_error_are_text() -> None:
    shows, stream = shown()
    with shows:
        shows.finished(outcome(task="[bold]x", status="failed", error="[red]\x1b[2J", action="[/nothing]"))
    assert "[bold]x" in stream.getvalue()
    assert "[red]\ufffd[2J" in stream.getvalue()
    assert "[/nothing]" in stream.getvalue()


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    shows, stream = shown()
    with shows:
        shows.started("train", "train")
        shows.progress("train", "training", 1, 4, 0)
        monkeypatch.setattr(display, "LINE_SECONDS", 0.0)
        shows.progress("train", "training", 2, 4, 0)
    assert stream.getvalue() == "  train: training 2/4\n"


def test_rows_of_an_earlier_run_are_counted_as_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "LINE_SECONDS", 0.0)
    shows, stream = shown()
    with shows:
        shows.started("sample", "sample")
        shows.progress("sample", "sampling", 128, 128, 128)
    assert stream.getvalue() == "  sample: sampling 128/128, 128 reused\n"


def test_on_a_terminal_progress_is_a_bar() -> None:
    shows, stream = shown(terminal=True)
    with shows:
        shows.started("train", "train")
        shows.progress("train", "training", 2, 4, 0)
        shows._progress.refresh()
    assert "2/4" in stream.getvalue()


def test_progress_of_a_task_that_ended_is_dropped() -> None:
    shows, stream = shown()
    with shows:
        shows.progress("train", "training", 2, 4, 0)
    assert not stream.getvalue()
