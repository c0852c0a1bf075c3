"""Ask a store several things at a time: an answer of S3 takes tens of milliseconds, whatever is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")

WORKERS = 10
"""Requests at a time: as many as boto3 keeps connections."""


def several(work: Callable[[I], T], items: Iterable[I], workers: int = WORKERS) -> list[T]:
    """Return the result of some work for each item, in order.

    Args:
        work: Done for each item, for several at a time. It must not do the same itself.
        items: What it is done for.
        workers: For how many at a time; 1 where another has begun several already.

    Raises:
        Exception: what the work raised for the first item for which it failed.
    """
    waiting = list(items)
    if workers == 1 or len(waiting) < 2:
        return [work(item) for item in waiting]
    with ThreadPoolExecutor(min(workers, len(waiting))) as pool:
        return list(pool.map(work, waiting))
