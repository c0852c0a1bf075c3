"""Start stages as forks of a process that has already imported what they need.

A small stage spends most of its time importing torch and transformers, and a run has some forty stages. Python's fork
server (``multiprocessing``) imports once, runs nothing, and forks itself for every stage. A stage is still a separate
process, with its own environment, log and exit code. Memory that is not written to is shared.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from multiprocessing import connection
from pathlib import Path

from thinksafe.run.parents import dying_with, forks

_LOCK = threading.Lock()
"""Held while a process is started or reaped: starting one also reaps others, and an exit code can be read once only."""

PR_SET_NAME = 15  # linux/prctl.h


SOCKET_PATH = 107
"""Bytes of the path of a Unix socket, without the end (unix(7))."""
SOCKET_NAME = len("/pymp-12345678/listener-12345678")
"""What multiprocessing appends to the temporary folder."""


def available() -> bool:
    """Return whether there can be a server: processes may be forked, and the path of its socket is not too long."""
    return forks() and len(os.fsencode(tempfile.gettempdir())) + SOCKET_NAME <= SOCKET_PATH


def warm_up() -> None:
    """Start the server, without waiting for its imports; does nothing where it runs or none is available.

    The server dies with the thread that called this first, so that nothing outlives a killed run.
    """
    if available():
        from multiprocessing import forkserver

        multiprocessing.set_forkserver_preload(["thinksafe_pipelines.local.preload"])
        with _LOCK:
            forkserver.ensure_running()


class ForkedStage:
    """A stage command as a fork of the server; has the part of ``subprocess.Popen``'s interface that a run needs.

    Args:
        command: ``thinksafe <stage> ...``.
        environment: All of the stage's environment variables.
        log: File that gets what the stage prints; appended to.

    Raises:
        OSError: the process could not be started.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")  # Windows has none
        self._process = context.Process(target=_run, args=(command, dict(environment), str(log)))
        with _LOCK:
            self._process.start()

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal."""
        connection.wait([self._process.sentinel])
        code = self.poll()
        assert code is not None
        return code

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        with _LOCK:
            return self._process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


def _run(command: list[str], environment: dict[str, str], log: str) -> None:
    """Run the stage, in the forked process."""
    import atexit

    from thinksafe.cli.main import main
    from thinksafe_pipelines.local import preload

    dying_with(preload.SERVER)()
    name = command[command.index("--task") + 1] if "--task" in command[:-1] else command[1]
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)  # what ps and top show
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.flush()
    with open(log, "ab", buffering=0) as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]  # an error must come last in the log
    sys.argv = command
    # multiprocessing runs no exit functions, and temporary folders are removed by one. Those of what the server has
    # imported take longer than a small stage, and have nothing to do
    atexit._clear()
    atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]
    try:
        main()
    finally:
        atexit._run_exitfuncs()
