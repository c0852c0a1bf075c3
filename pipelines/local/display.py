"""Show a run in the terminal: one line per finished task, a progress bar for each that is running.

If the output is not a terminal, it prints plain lines, at most one every few seconds for each task.
"""

from __future__ import annotations

import threading
import time
from textwrap import indent
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from thinksafe.text import clean
from thinksafe_pipelines.local.host import TaskOutcome

LINE_SECONDS = 15.0
"""Minimum time between two plain progress lines of a task, in seconds."""

MARKS = {"succeeded": "[green]done   [/]", "failed": "[red]failed [/]", "cancelled": "[yellow]stopped[/]"}


class Display:
    """Listener that draws; a context manager, because the bars need an end.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._bars: dict[str, TaskID] = {}
        self._lines: dict[str, float] = {}
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[label]}", style="dim"),
            BarColumn(bar_width=30), TimeElapsedColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, task: str, stage: str) -> None:
        """Add a bar without an end."""
        with self._lock:
            self._lines[task] = time.monotonic()
            self._bars[task] = self._progress.add_task(escape(task), total=None, label="")

    def progress(self, task: str, label: str, done: float, total: float, reused: float) -> None:
        """Move the bar of a task, or print a line."""
        with self._lock:
            bar = self._bars.get(task)
            if bar is None:  # written just before the task ended
                return
            counted = f"{escape(clean(label))} {done:g}/{total:g}" + (f", {reused:g} reused" if reused else "")
            self._progress.update(bar, completed=done, total=total, label=counted)
            if not self._console.is_terminal and time.monotonic() - self._lines[task] >= LINE_SECONDS:
                self._lines[task] = time.monotonic()
                self._print(f"  {escape(task)}: {counted}")

    def finished(self, outcome: TaskOutcome) -> None:
        """Replace the bar of a task by a line."""
        with self._lock:
            bar = self._bars.pop(outcome.task, None)
            if bar is not None:
                self._progress.remove_task(bar)
            self._print(f"  {MARKS[outcome.status]} {outcome.seconds:8.1f} s  {escape(outcome.task)}")
            for text in filter(None, (outcome.error, outcome.action) if outcome.status == "failed" else ()):
                self._print(indent(escape(clean(text)), " " * 10))

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
