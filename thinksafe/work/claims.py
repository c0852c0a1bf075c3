"""Which worker makes which chunk: each takes the next one that nobody has.

The time for a chunk is known only afterwards, so with any fixed assignment most workers would wait for the slowest.
Before a worker makes a chunk, it claims it by conditional create, so that no chunk is made twice. A worker that was
killed and started again finds its own claims and continues. Others take over the claims of a worker that is silent.

Claims are ``claims/<set>/<index>-<take>``; ``take`` counts the take-overs, and the last one is valid. ``<index>-done``
says that the chunk is stored. While it works, a worker renews ``alive-<worker>`` next to them, which also says how many
rows it has made.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from thinksafe.errors import ConflictError, MissingError, StoreError
from thinksafe.run.record import Advance
from thinksafe.store import Store

LEASE = 180.0
"""Seconds after which a silent worker counts as dead; well above the difference between two machines' clocks."""
RENEWAL = 30.0
"""Longest time between two heartbeats, in seconds."""
NEWS = 2.0
"""Shortest time between two heartbeats that report rows, in seconds."""
DONE = "done"


class Claims:
    """The claims of one set of chunks, as one of its workers sees them.

    Args:
        store: Store of the run.
        scope: Name of the set, unique in the store; one run's workers must agree on it.
        total: Chunks of the set.
        worker: This worker, from 0.
        workers: Number of workers. It does not matter whether all of them ever run.
    """

    def __init__(self, store: Store, scope: str, total: int, worker: int, workers: int) -> None:
        self._store, self._scope, self._prefix = store, scope, f"claims/{scope}/"
        self._total, self._worker, self._workers = total, worker, workers
        self._mine: set[int] = set()
        self._done: set[int] = set()
        self._rows, self._signed = 0, 0.0

    def take(self, done: Callable[[int], bool]) -> Iterator[int]:
        """Yield chunks that this worker has claimed and must make.

        A worker starts with every n-th chunk, so that few workers want the same one, and goes on with what is left of
        the others, from their ends.

        Args:
            done: Returns whether a chunk is already in the store; called just before claiming it.
        """
        def there(index: int) -> bool:
            if index not in self._done and done(index):
                self._done.add(index)
            return index in self._done

        for index in range(self._worker, self._total, self._workers):
            if not there(index) and self._claim(index, 0):
                yield index
        while (left := self._left(there)) is not None:
            yield left

    def finish(self, index: int) -> None:
        """Say that a chunk is stored, so that the others need not look for it."""
        # the chunk itself is what counts
        with suppress(StoreError):
            self._store.put(f"{self._prefix}{index:06}-{DONE}", b"")

    @contextmanager
    def alive(self) -> Iterator[Advance]:
        """Send heartbeats while the block runs; an error in it releases the claims. Yields the counter of rows."""
        self._sign(time.time())
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(ended,), daemon=True)
        thread.start()
        try:
            yield self._count
        except BaseException:
            ended.set()
            thread.join()
            self._sign(0.0)
            raise
        ended.set()
        thread.join()
        self._sign(time.time())

    def _left(self, done: Callable[[int], bool]) -> int | None:
        """Claim a chunk that nobody has, or that a silent worker had."""
        takes, finished = self._seen()
        order = [
            index
            for step in range(1, self._workers + 1)
            for index in reversed(range((self._worker + step) % self._workers, self._total, self._workers))
            if index not in finished
        ]
        for index in order:
            if index not in takes and not done(index) and self._claim(index, 0):
                return index
        silent: dict[int, bool] = {}
        for index in order:
            if index not in takes or index in self._mine:
                continue
            claimer = self._claimer(index, takes[index])
            if claimer is not None and claimer not in silent:
                silent[claimer] = self._silent(claimer)
            if (claimer is None or silent[claimer]) and not done(index) and self._claim(index, takes[index] + 1):
                return index
        return None

    def _seen(self) -> tuple[dict[int, int], set[int]]:
        """Return the last claim of each claimed chunk, and the chunks that were finished."""
        takes, finished = dict[int, int](), set[int]()
        for index, what in _entries(self._store, self._scope):
            if what == DONE:
                finished.add(index)
            elif what.isdigit():
                takes[index] = max(int(what), takes.get(index, 0))
        return takes, finished

    def _claim(self, index: int, take: int) -> bool:
        data = json.dumps({"worker": self._worker}).encode()
        try:
            self._store.create(self._key(index, take), data)
        except ConflictError:
            last = self._seen()[0].get(index, take)
            if self._claimer(index, last) != self._worker:
                return False  # else this worker claimed it before it was killed
        self._mine.add(index)
        return True

    def _claimer(self, index: int, take: int) -> int | None:
        """Return who has a claim, None for one that cannot be read."""
        with suppress(MissingError, ValueError, KeyError, TypeError):
            return int(json.loads(self._store.get(self._key(index, take)))["worker"])
        return None

    def _silent(self, worker: int) -> bool:
        """Return whether a worker has given up or died."""
        if worker == self._worker:
            return True  # it was killed, and has started again
        with suppress(MissingError, ValueError, KeyError, TypeError):
            seen = float(json.loads(self._store.get(f"{self._prefix}alive-{worker}"))["time"])
            return time.time() - seen > LEASE
        return True

    def _key(self, index: int, take: int) -> str:
        return f"{self._prefix}{index:06}-{take}"

    def _count(self, rows: int, /, *, reused: bool = False) -> None:
        self._rows += rows
        if time.monotonic() - self._signed > NEWS:
            self._sign(time.time())

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL):
            self._sign(time.time())

    def _sign(self, moment: float) -> None:
        self._signed = time.monotonic()
        # at worst a chunk is made twice; the worker's own work will report the problem with the store
        with suppress(StoreError):
            data = json.dumps({"time": moment, "rows": self._rows}).encode()
            self._store.put(f"{self._prefix}alive-{self._worker}", data)


def rows_made(store: Store, scope: str, workers: int) -> int:
    """Return how many rows the workers of a set say they have made."""
    made = 0
    for worker in range(workers):
        with suppress(MissingError, ValueError, KeyError, TypeError):
            made += int(json.loads(store.get(f"claims/{scope}/alive-{worker}"))["rows"])
    return made


def claimed(store: Store, scope: str) -> frozenset[int]:
    """Return the indices of the chunks of a set that workers have claimed."""
    return frozenset(index for index, _ in _entries(store, scope))


def finished(store: Store, scope: str) -> frozenset[int]:
    """Return the indices of the chunks of a set that workers said they have stored."""
    return frozenset(index for index, what in _entries(store, scope) if what == DONE)


def forget(store: Store, scope: str, index: int) -> None:
    """Delete all claims of a chunk, so that any worker makes it again."""
    for key in store.keys(f"claims/{scope}/{index:06}-"):
        store.delete(key)


def _entries(store: Store, scope: str) -> Iterator[tuple[int, str]]:
    """Yield index and last part of each claim of a set; heartbeats are left out."""
    prefix = f"claims/{scope}/"
    for key in store.keys(prefix):
        index, _, what = key.removeprefix(prefix).partition("-")
        if index.isdigit():
            yield int(index), what
