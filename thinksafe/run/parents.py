"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")


def forks() -> bool:
    """Return whether processes may be forked here: on Linux, without a GPU, whose libraries do not survive a fork."""
    return sys.platform.startswith("linux") and not any(map(os.path.exists, GPU_DEVICES))


def dying_with(parent: int) -> Callable[[], None]:
    """Return a function for a child to call first: the kernel then kills it when its parent, ``parent``, dies.

    The kernel ties a child to the thread that started it. On anything but Linux the call does nothing.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl  # looked up here: the child of a threaded process must do as little as possible

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask


def adopt_orphans() -> None:
    """Become the parent of all processes below this one whose own parent dies, so that :func:`end_children` sees them.

    On anything but Linux the call does nothing.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """Kill the children of this process, and those that it adopts by that, and wait for their end."""
    while children := _children(os.getpid()):
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _children(parent: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                # the name in brackets may hold blanks and brackets; the parent is the second field after it
                if int(stat.read().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry))
    return found
