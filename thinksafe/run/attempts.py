"""Attempts of a stage in one pod: a small parent process starts the stage again after errors that may pass.

Kubeflow Pipelines as installed replaces pods that are lost, and takes any exit code as final. So the retries of
``cluster.stages`` that follow an exit code or a signal happen here. The parent imports none of the stage's libraries.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from thinksafe.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_STOPPED, StageError
from thinksafe.run.parents import adopt_orphans, dying_with, end_children

RETRIES_VARIABLE = "THINKSAFE_RETRIES"
"""Environment variable of the pods whose stage is retried: :class:`Retries` as text."""
NODE_VARIABLE = "THINKSAFE_ARGO_NODE"
"""Environment variable with the name that Argo gives a pod; it shows whether the pod replaces another one."""
NODE_FIELD = "metadata.annotations['workflows.argoproj.io/node-name']"
"""Where a pod has that name."""
FINAL = (EXIT_OK, EXIT_BAD_INPUT, EXIT_STOPPED)
"""Exit codes that another attempt would not change."""


class Retries(NamedTuple):
    """How often a stage is started again in its pod."""

    number: int
    """Retries after the first attempt."""
    within: int
    """Seconds after the start of the first attempt; later no attempt starts."""
    first_wait: float
    """Seconds before the first retry; each wait is twice the one before."""

    @property
    def text(self) -> str:
        """The value of the environment variable."""
        return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self)


@dataclass(frozen=True)
class Attempt:
    """An attempt that failed."""

    ended: str
    """``exit code 1``, or the name of the signal that killed it."""
    seconds: float


@dataclass(frozen=True)
class Attempts:
    """What a stage knows about the attempts before it in the same pod."""

    failed: tuple[Attempt, ...] = ()
    retries: int = 0
    """Retries that the pod may make in all; 0 if nobody starts this process again."""
    replacing: bool = False
    """Kubeflow started the pod in the place of an earlier one."""
    given_up: bool = False
    """The last attempt was killed and none is left: this process only writes the record that the killed one could
    not."""

    @property
    def before(self) -> tuple[Attempt, ...]:
        """The failed attempts before the one that the record is about."""
        return self.failed[:-1] if self.given_up else self.failed

    def require_work(self, stage: str) -> None:
        """Raise StageError if this process is only to record that the attempts were killed."""
        if self.given_up:
            raise StageError(
                f"Attempt {len(self.failed)} of the stage was killed by {self.failed[-1].ended}, and none is left.",
                f"SIGKILL usually means out of memory: raise cluster.stages.{stage}.limits.memory. The log has the "
                "last lines of each attempt.",
            )


_current = Attempts()


def current() -> Attempts:
    """Return what this process knows about the attempts before it; nothing outside of :func:`supervise`."""
    return _current


def wanted(environment: Mapping[str, str]) -> Retries | None:
    """Return how the environment asks for retries; None if it does not."""
    text = environment.get(RETRIES_VARIABLE, "")
    if not text:
        return None
    number, within, first_wait = text.split(",")
    return Retries(int(number), int(within), float(first_wait))


def replaces(node: str) -> bool:
    """Return whether a pod replaces another one, by its Argo name: ``(1)`` follows what Argo started once more."""
    return any(int(number) for number in re.findall(r"\((\d+)\)", node))


def supervise(retries: Retries, *, replacing: bool = False) -> int | None:
    """Split off a child that does the work, and start it again after errors that may pass.

    The child is killed when this process dies. SIGTERM is passed on to it, and no attempt follows. Each attempt has its
    own folder for temporary files; what a killed one leaves behind, files and processes, is removed.

    Args:
        retries: How often, and how long.
        replacing: See :class:`Attempts`.

    Returns:
        In the parent the exit code of the command, in each child None: it goes on with the work.
    """
    started = time.monotonic()
    failed: list[Attempt] = []
    # no handlers: signals wait until this process asks for them, so none arrives at a bad moment
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    adopt_orphans()
    while True:
        began = time.monotonic()
        ended = _attempt(Attempts(tuple(failed), retries.number, replacing), mask)
        if ended is None:
            return None
        code, stopped = ended
        if code in FINAL or stopped:
            return _exit_code(code)
        failed.append(Attempt(_words(code), time.monotonic() - began))
        wait = retries.first_wait * 2 ** (len(failed) - 1)
        what = (
            f"thinksafe: attempt {len(failed)} of {retries.number + 1} ended with {failed[-1].ended} after "
            f"{failed[-1].seconds:.0f} s; "
        )
        if len(failed) > retries.number:
            _say(f"{what}none is left.")
            break
        if time.monotonic() - started + wait > retries.within:
            _say(f"{what}the next one would start after the time limit of {retries.within} s.")
            break
        _say(f"{what}the next one starts in {wait:g} s.")
        if signal.sigtimedwait({signal.SIGTERM}, wait) is not None:
            return _exit_code(-signal.SIGTERM)
    if code >= 0:
        return code
    recorded = _attempt(Attempts(tuple(failed), retries.number, replacing, given_up=True), mask)
    return None if recorded is None else _exit_code(recorded[0])


def _attempt(attempts: Attempts, mask: set[int]) -> tuple[int, bool] | None:
    """Split off a child; return how it ended, negative for a signal, and whether SIGTERM came. None in the child."""
    global _current
    stopped, parent, folder = False, os.getpid(), tempfile.mkdtemp(prefix="attempt-")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or both processes would write what is in the buffer
    child = os.fork()
    if child == 0:
        dying_with(parent)()
        os.setsid()  # a signal to the parent's group must not reach it twice
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.environ.pop(RETRIES_VARIABLE, None)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        _current = attempts
        return None
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if signal.sigwaitinfo({signal.SIGTERM, signal.SIGCHLD}).si_signo == signal.SIGTERM:
            stopped = True
            os.kill(child, signal.SIGTERM)
    end_children()  # of a killed stage, such as an engine that still holds the GPU
    shutil.rmtree(folder, ignore_errors=True)
    return os.waitstatus_to_exitcode(status), stopped


def _words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


def _exit_code(code: int) -> int:
    """Return an exit code as a shell does, 128 and more for a signal."""
    return code if code >= 0 else 128 - code


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
