"""Calls that end in time, whatever the library below does with retries, several addresses or answers that drip in."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Return what a call returns, or give up waiting for it.

    A call that is given up goes on in a daemon thread, which does not keep the process alive; what it asked for may
    still happen.

    Args:
        seconds: Total time.
        call: What to call, in another thread.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Raises:
        TimeoutError: it took longer.
        BaseException: what the call raises.
    """
    ended: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            ended.put((context.run(call, *args, **kwargs), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=work, daemon=True, name=f"within {seconds:.0f} s").start()
    try:
        value, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


class Bounded:
    """An object whose methods end within ``seconds``.

    After one that took more than half of that and failed, all others fail at once with the same error: who waited for
    a server that is gone does not wait for it again.

    Args:
        target: The object.
        seconds: Total time of each call; may be changed.
    """

    def __init__(self, target: Any, seconds: float) -> None:
        self.seconds = seconds
        self._target = target
        self._lost: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._lost is not None:
                raise self._lost
            started = time.monotonic()
            try:
                return within(self.seconds, value, *args, **kwargs)
            except Exception as error:
                if time.monotonic() - started > self.seconds / 2:
                    self._lost = error
                raise

        return call
