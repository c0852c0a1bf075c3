"""Calls with a total time limit, whatever the library does about retries, several addresses or trickling answers."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Return the result of a call, or stop waiting for it.

    An abandoned call continues in a daemon thread, which does not keep the process alive; its request may still take
    effect.

    Args:
        seconds: Time limit.
        call: Function to call, in another thread.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Raises:
        TimeoutError: The call took longer.
        BaseException: Whatever the call raises.
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

    After a call that failed and took more than half of that time, all further calls fail at once with the same error:
    nobody waits twice for a server that is gone.

    Args:
        target: The object.
        seconds: Time limit of each call; may be changed.
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
