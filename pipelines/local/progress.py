"""Follow the progress that stages write: JSON lines appended to one file by all processes of a run."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PROGRESS_VARIABLE = "THINKSAFE_PROGRESS"
"""Environment variable that names the file."""

INTERVAL_SECONDS = 0.2

Report = Callable[[str, str, float, float, float], None]
"""Called with task, label, done, total, and how many of the done ones were reused."""


def parse_progress(line: bytes) -> tuple[str, str, float, float, float] | None:
    """Return task, label, done, total and reused of a line, or None when it is not a progress line."""
    try:
        value = json.loads(line)
        task, label = value["task"], value["label"]
        done, total, reused = (float(value[name]) for name in ("done", "total", "reused"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not (isinstance(task, str) and isinstance(label, str) and all(map(math.isfinite, (done, total, reused)))):
        return None
    return task, label, done, total, reused


class ProgressFollower:
    """Reads a growing file in a thread while the context is open, and passes on each complete line once.

    Args:
        path: File to follow; emptied at the start.
        report: Called for each progress line; other lines are ignored.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self._path = path
        self._report = report
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> ProgressFollower:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(b"")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        rest = b""
        with self._path.open("rb") as stream:
            while True:
                last_round = self._stop.wait(INTERVAL_SECONDS)
                *lines, rest = (rest + stream.read()).split(b"\n")
                for line in lines:
                    if found := parse_progress(line):
                        self._report(*found)
                if last_round:
                    return
