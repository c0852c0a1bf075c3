"""Waiting, with a limit and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, look: Callable[[], T], seconds: float, pause: float = 1.0) -> T:
    """Return what ``look`` returns once that is true.

    Args:
        what: What is waited for; the error names it.
        look: Called again and again.
        seconds: How long.
        pause: Seconds between two looks.

    Raises:
        AssertionError: the time is over.
    """
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}; last seen: {found!r}")
        time.sleep(pause)
    return found
