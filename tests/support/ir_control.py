"""What happens to a run of a compiled pipeline from outside: it is terminated, its workflow or a pod of it deleted."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 900
"""Longest run of a pod."""


@dataclass
class Control:
    """What happens to the pods of a run from outside."""

    terminated: bool = False
    gone: bool = False
    """The workflow was deleted, and its pods with it."""
    process: subprocess.Popen[bytes] | None = None
    """The pod that runs."""
    lost: bool = False
    """The pod was deleted: Argo starts another one in its place."""
    images: set[str] = field(default_factory=set)
    """Images that can be pulled; all where it is empty."""
    show: Callable[[str, dict[str, str], Path, int | None], None] = lambda name, labels, log, code: None
    """Told of each pod that starts and ends: name, labels, log, and exit code."""
    starting: threading.Lock = field(default_factory=threading.Lock)
    """Held while a pod starts, so that no signal is lost between its first instruction and ``process``."""

    def terminate(self) -> None:
        """End the run: the stage under way gets SIGTERM, and only exit tasks still start."""
        with self.starting:
            self.terminated = True
            if self.process is not None:
                self.process.terminate()

    def delete(self) -> None:
        """Delete the workflow: nothing more runs."""
        self.gone = True
        self.lose()

    def lose(self) -> None:
        """Delete the pod that runs."""
        with self.starting:
            self.lost = True
            if self.process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def run(
        self, name: str, labels: dict[str, str], command: list[str], disk: Path, environment: dict[str, str]
    ) -> tuple[int, str]:
        """Run the process of a pod to its end; returns exit code and log. Raises GoneError."""
        log, self.lost = disk / "log", False
        with log.open("wb") as file, self.starting:
            self.process = subprocess.Popen(
                command, cwd=disk, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        self.show(name, labels, log, None)
        try:
            code = self.process.wait(timeout=SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # what it left running goes with the pod
        self.process = None
        if self.gone:
            raise GoneError
        self.show(name, labels, log, code)
        return code, log.read_text("utf-8")


class GoneError(Exception):
    """The workflow was deleted."""
