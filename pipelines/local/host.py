"""Run stage commands as host processes (or containers) that cannot outlive the run, and report how each ended.

Children stay in the process group of the run, so that a signal to the group reaches them. They also ask the kernel
(Linux) to kill them when the run's process dies, so that even a kill -9 of the run alone leaves nothing behind.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal, Protocol

from thinksafe.config.compared import method_of, scoped
from thinksafe.config.stage_table import DEFAULT, STAGES
from thinksafe.errors import ThinkSafeError
from thinksafe.run.parents import dying_with
from thinksafe_pipelines.local import prefork
from thinksafe_pipelines.local.containers import Containers

GRACE_SECONDS = 5.0
"""Time a stage has to end after SIGTERM before it is killed."""

ERROR_TAIL = 64 * 1024
"""Bytes at the end of a task's log that are searched for its error."""

FULL_DISK = 1 << 20
"""Fewer free bytes than this on the disk count as the cause if a stage failed without a message."""

ERROR_LINES = 40
"""Lines of an error that are kept."""


@dataclass(frozen=True)
class TaskOutcome:
    """Result of one task."""

    task: str
    stage: str
    status: Literal["succeeded", "failed", "cancelled"]
    seconds: float
    exit_code: int
    """Negative: ended by that signal."""
    error: str = ""
    """The problem as the stage reported it, if it failed."""
    action: str = ""
    """What the reader can do about it."""
    log: str = ""
    """File with everything that the stage printed."""


class Process(Protocol):
    """A running stage: a ``subprocess.Popen``, a fork or a container."""

    def wait(self) -> int:
        """Wait for the end and return the exit code. Raises ThinkSafeError if the end can no longer be observed."""

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Listener(Protocol):
    """Gets notified of every task; calls may come from several threads."""

    def started(self, task: str, stage: str) -> None:
        """Called when a task's process has started."""

    def progress(self, task: str, label: str, done: float, total: float, reused: float) -> None:
        """Called with the progress of a task."""

    def finished(self, outcome: TaskOutcome) -> None:
        """Called with the result of a task."""


@dataclass
class Session:
    """The processes of one run.

    Args:
        logs: Folder for one log file per task.
        listener: Gets notified of every task.
        environment: Environment variables of the stages in addition to those of this process.
        path: Folder whose commands take precedence; the interpreter's own by default, so that the stages use the
            packages of this process.
        forks: Stages are forks of a prepared process (:mod:`thinksafe_pipelines.local.prefork`), and ``path``
            is for what they start themselves.
        containers: Stages are containers, and none of the above is of use.
    """

    logs: Path
    listener: Listener
    environment: Mapping[str, str] = field(default_factory=dict)
    path: Path = Path(sys.executable).parent
    forks: bool = False
    containers: Containers | None = None
    outcomes: dict[str, TaskOutcome] = field(default_factory=dict)
    """By task, in the order in which they ended; a repeated attempt replaces the one before."""
    cancelled: bool = False
    _processes: set[Process] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    # reentrant: cancel() may come from a signal handler while this very thread holds it

    def execute(self, command: list[str], variables: Mapping[str, str], image: str = "") -> bool:
        """Run one stage command to its end; returns whether it succeeded.

        After another task has failed, only exit stages and the other methods of a comparison still run: KFP would
        continue with everything that does not depend on the failed task, and the user would wait for the results of a
        failed run.

        Args:
            command: ``thinksafe <stage> ... --task <name> ...``.
            variables: Environment variables of the component.
            image: Image of the component, where stages are containers.
        """
        stage, task = describe(command)
        if not STAGES.get(stage, DEFAULT).runs_after_failure and self._failed_besides(task):
            return False
        log = self.logs / f"{re.sub(r'[^A-Za-z0-9._-]', '_', task)}.log"
        clock = time.monotonic()
        self.listener.started(task, stage)
        code, error, action = self._run(command, variables, log, image)
        status: Literal["succeeded", "failed", "cancelled"] = "succeeded" if code == 0 else "failed"
        if code and self.cancelled:
            status, error, action = "cancelled", "The run was stopped.", "Start it again; finished work is kept."
        elif code and not error:
            error, action = explain(code, log)
        outcome = TaskOutcome(task, stage, status, time.monotonic() - clock, code, error, action, str(log))
        with self._lock:
            self.outcomes.pop(task, None)
            self.outcomes[task] = outcome
        self.listener.finished(outcome)
        return status == "succeeded"

    def cancel(self) -> None:
        """Stop all stages, and let none start any more."""
        with self._lock:
            self.cancelled = True
            running = list(self._processes)
        for process in running:
            process.terminate()
        if running:
            timer = threading.Timer(GRACE_SECONDS, _kill_all, [running])
            timer.daemon = True
            timer.start()

    def _failed_besides(self, task: str) -> bool:
        """Return whether a task failed that this one must not follow: of no method, or of the same method."""
        with self._lock:
            failed = [name for name, outcome in self.outcomes.items() if outcome.status == "failed" and name != task]
        return any(method_of(name) in ("", method_of(task)) or not method_of(task) for name in failed)

    def _run(self, command: list[str], variables: Mapping[str, str], log: Path, image: str) -> tuple[int, str, str]:
        if self.cancelled:
            return -signal.SIGTERM, "", ""
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            # not while holding the lock, which a signal handler of the main thread may be waiting for
            process = self._start(command, {**variables, **self.environment}, log, image)
        except FileNotFoundError:
            return 127, f"The command {command[0]!r} is not on PATH.", "Install the package into this environment."
        except ThinkSafeError as error:
            return 126, error.problem, error.action
        except (OSError, EOFError, subprocess.SubprocessError) as error:
            # an argument list that is too long also ends here
            return 126, f"The stage could not be started: {error}.", "Check the disk and the length of the config."
        with self._lock:
            self._processes.add(process)
            if self.cancelled:
                process.kill()
        try:
            return process.wait(), "", ""
        except ThinkSafeError as error:  # a container's daemon went away
            return 125, error.problem, error.action
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            with self._lock:
                self._processes.discard(process)

    def _start(self, command: list[str], variables: Mapping[str, str], log: Path, image: str) -> Process:
        if self.containers is not None:
            return self.containers.start(image, command, variables, log)
        environment = {**os.environ, **variables}
        environment["PATH"] = os.pathsep.join(filter(None, [str(self.path), environment.get("PATH", "")]))
        if self.forks:
            return prefork.ForkedStage(command, environment, log)
        with log.open("ab") as stream:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment,
                preexec_fn=None if sys.platform == "win32" else dying_with(os.getpid()),
            )


def _kill_all(processes: list[Process]) -> None:
    for process in processes:
        process.kill()  # does nothing to one that has ended


def describe(command: list[str]) -> tuple[str, str]:
    """Return stage and task name of a stage command; the name of a compared method's task is scoped."""
    stage = command[1] if len(command) > 1 else command[0]
    return stage, scoped(_option(command, "--task") or stage, _option(command, "--method"))


def _option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1] if name in command[:-1] else ""


def explain(code: int, log: Path) -> tuple[str, str]:
    """Return problem and corrective action of a failed stage from the end of its log.

    The stage CLI prints ``error: <problem>``, which may have several lines, and the action on an indented last line.
    """
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - ERROR_TAIL))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith("error: "):
            block = [lines[index].removeprefix("error: ")]
            for line in lines[index + 1 : index + ERROR_LINES]:
                if not line.strip() or (block[-1].startswith("  ") and not line.startswith("  ")):
                    break
                block.append(line)
            if len(block) > 1 and block[-1].startswith("  "):
                return "\n".join(block[:-1]), block[-1].strip()
            return "\n".join(block), f"See {log}."
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = "; the machine may be out of memory" if -code == signal.SIGKILL else ""
        return f"The stage was ended by {name}{hint}.", f"See {log}."
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if shutil.disk_usage(log.parent).free < FULL_DISK:
        # then its own words could not be written either
        return f"The stage ended with exit code {code}; no space is left at {log.parent}.", "Free space on that disk."
    return f"The stage ended with exit code {code}{f': {last[:300]}' if last else ''}.", f"See {log}."


@contextmanager
def stopping_on_signals(session: Session) -> Iterator[None]:
    """Stop the stages when this process is asked to stop; does nothing outside the main thread.

    Raises:
        KeyboardInterrupt: on SIGINT.
        SystemExit: on SIGTERM or SIGHUP, with 128 plus the signal's number.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        session.cancel()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
