"""The one back-off loop of the store: how long a call is tried again, and how long it waits in between."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from thinksafe.errors import ConfigError, DamagedError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

VARIABLE = "THINKSAFE_S3_RETRY_SECONDS"
SECONDS = 180.0
"""A stage survives an outage of a minute or two; a longer one fails it, and it resumes when started again."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
"""Seconds; a wait is drawn from the upper half of its bound, which doubles from the first to the longest."""
REREADS = 2
"""A wrong digest may be damage in transit; if it stays wrong, the object itself is damaged."""
# From the system, not the module random, whose state may be seeded and is equal in forked processes.
_JITTER = random.SystemRandom()


def default_retry_seconds() -> float:
    """Return how long to retry a failing call. Raises ConfigError for a malformed variable."""
    text = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(text or SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"{VARIABLE} is not a number of seconds.", f"Set it to 0 or more, or unset it ({SECONDS:g}).")
    return seconds


def retried(action: Callable[[], T], transient: Callable[[BaseException], bool], seconds: float, what: str) -> T:
    """Return what ``action`` returns, trying again while its errors are transient.

    The time counts from the first failure, so that long transfers are retried, too. The last error is raised unchanged.
    DamagedError is retried ``REREADS`` times.

    Args:
        action: Must be safe to repeat.
        transient: Returns whether an error may go away on its own.
        seconds: No attempt starts later than this after the first failure.
        what: For the log, where the first failure is noted: ``write s3://bucket/key``.
    """
    import tenacity

    failures: list[float] = []
    damaged = 0

    def stop(state: RetryCallState) -> bool:
        nonlocal damaged
        failures.append(time.monotonic())
        error = state.outcome and state.outcome.exception()
        damaged += isinstance(error, DamagedError)
        late = failures[-1] + state.upcoming_sleep > failures[0] + seconds
        if not late and len(failures) == 1:
            logging.getLogger(__name__).warning(
                "Could not %s (%s); trying again for up to %g s.", what, type(error).__name__, seconds
            )
        return late or damaged > REREADS

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, DamagedError) or transient(error)),
        wait=lambda state: _wait(state.attempt_number), stop=stop, sleep=time.sleep, reraise=True,
    )
    return attempts(action)


def _wait(attempt: int) -> float:
    bound = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 30))
    return _JITTER.uniform(bound / 2, bound)
