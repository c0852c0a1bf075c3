"""Stages as processes: started, awaited, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).with_name("thinksafe"))
STAGE_SECONDS = 900
"""A stage that takes longer hangs."""
POLL = 0.005


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    text: str
    """Its output, both streams."""
    seconds: float

    @property
    def clear(self) -> bool:
        """Whether it failed as the project promises: with exit code 1 or 2, the problem and the corrective action."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        places = [place for place, line in enumerate(lines) if line.startswith("error: ")]
        if self.code not in (1, 2) or "Traceback" in self.text or not places:
            return False
        return "unexpected" not in lines[places[-1]] and lines[places[-1] + 1 :][:1] != []

    @property
    def error(self) -> str:
        """The last error line, without its action."""
        lines = [line for line in self.text.splitlines() if line.startswith("error: ")]
        return lines[-1].removeprefix("error: ") if lines else f"exit code {self.code}: {self.text[-300:]}"


class Process:
    """A started command that leads its own process group."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self._output = output
        with output.open("wb") as stream:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, env=dict(environment), cwd=ROOT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float = STAGE_SECONDS) -> Ended:
        """Wait for the end; a process that hangs is killed."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        text = self._output.read_text("utf-8", errors="replace")
        return Ended(self._process.returncode, text, time.monotonic() - self.started)

    def kill(self) -> bool:
        """Kill the group with SIGKILL and return whether the process was still running."""
        running = self.running
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            running = False
        self._process.wait()
        return running and self._process.returncode == -signal.SIGKILL


    def workers(self) -> list[int]:
        """Return the ids of the processes that the command has started and that run."""
        return [pid for pid in self._children() if not _ended(pid)]

    def _children(self) -> list[int]:
        try:
            found = [path.read_text() for path in Path(f"/proc/{self._process.pid}/task").glob("*/children")]
        except OSError:  # it has just ended
            return []
        return sorted(int(pid) for text in found for pid in text.split())


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without variables that would lead a stage to other servers."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "THINKSAFE_", "AWS_"))
    }
    return {**kept, "OMP_NUM_THREADS": "1", **changes}
