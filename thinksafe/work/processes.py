"""Workers as processes of this machine, where there are no pods."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from thinksafe.run.parents import dying_with, forks
from thinksafe.work.worker import Opener, work_on

LOOK_SECONDS = 0.5
"""Time between two looks at the progress."""


def run_processes(address: str, workers: int, opener: Opener, look: Callable[[], Any]) -> list[str]:
    """Let processes work on an order until each of them has ended, and return which were killed, in words.

    Args:
        address: Address of the order.
        workers: Number of processes.
        opener: Opens the sets; a function at the top level of a module.
        look: Called from time to time.
    """
    context: Any = multiprocessing.get_context("fork" if forks() else "spawn")
    processes = [
        context.Process(target=_process, args=(address, worker, opener, os.getpid()), daemon=True)
        for worker in range(workers)
    ]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        for process in processes:
            process.start()
        while waiting := [process.sentinel for process in processes if process.is_alive()]:
            connection.wait(waiting, LOOK_SECONDS)
            look()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
    codes = [process.exitcode or 0 for process in processes]
    return [f"process {number} by signal {-code}" for number, code in enumerate(codes) if code < 0]


def _process(address: str, worker: int, opener: Opener, parent: int) -> None:
    dying_with(parent)()
    try:
        work_on(address, worker, opener)
    except Exception:  # the error is in the store; its message may quote model text
        raise SystemExit(1) from None
