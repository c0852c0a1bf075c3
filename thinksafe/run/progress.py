"""Progress of long stages: JSON lines for the process that started the stage, or occasional plain lines.

Where the environment names a file in ``THINKSAFE_PROGRESS``, each report is one line
``{"task", "label", "done", "total", "reused"}`` there, and ``thinksafe run`` draws the bar. Otherwise plain lines go to
stderr, which suits the log of a container.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from thinksafe.run.record import Advance, Progress

VARIABLE = "THINKSAFE_PROGRESS"
FILE_SECONDS, LOG_SECONDS = 0.2, 15.0


class ReportedProgress(Progress):
    """Counts rows and reports them at intervals, and always at the end."""

    def __init__(self, task: str, label: str, total: int) -> None:
        self._task, self._label, self._total = task, label, total
        self._path = os.environ.get(VARIABLE, "")
        self._done, self._reused, self._last = 0, 0, 0.0

    def __enter__(self) -> Advance:
        self._last = time.monotonic()
        if self._path:
            self._report()
        return self._advance

    def __exit__(self, *error: object) -> None:
        self._report()

    def _advance(self, rows: int, /, *, reused: bool = False) -> None:
        self._done += rows
        self._reused += rows if reused else 0
        if time.monotonic() - self._last >= (FILE_SECONDS if self._path else LOG_SECONDS):
            self._report()

    def _report(self) -> None:
        self._last = time.monotonic()
        if not self._path:
            reused = f", {self._reused} reused" if self._reused else ""
            sys.stderr.write(f"{self._task}: {self._label} {self._done} of {self._total}{reused}\n")
            sys.stderr.flush()
            return
        line = json.dumps({
            "task": self._task, "label": self._label, "done": self._done, "total": self._total, "reused": self._reused,
        })
        try:
            with open(self._path, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError:
            pass  # a lost progress line must not fail a stage


def reporter(task: str) -> Callable[[str, int], Progress]:
    """Return the ``track`` function of a stage context."""
    return lambda label, total: ReportedProgress(task, label, total)
