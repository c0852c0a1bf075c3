"""Which shard makes which chunk: each starts with its own, and a finished shard helps the others.

The time for a chunk is known only afterwards, so with any fixed assignment most shards would wait for the slowest.
Before a shard makes a chunk, it claims it by conditional create, so that no chunk is made twice. A shard's manifest
lists its own chunks, no matter which shard made them, so the result does not depend on timing.

Claims are ``claims/<set>/<index>`` with the shard that made them. While it works, a shard renews ``alive-<shard>``
next to them. If that is older than ``LEASE`` seconds, the owner of a chunk that the silent shard had claimed makes it
itself. A killed and restarted shard finds its own claims and continues.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from thinksafe.errors import ConflictError, StoreError
from thinksafe.store import Store

LEASE = 180.0
"""Seconds after which a silent shard counts as dead; well above the difference between two machines' clocks."""

RENEWAL = 30.0
"""Seconds between two heartbeats."""


class Claims:
    """The claims of one set of chunks, as one of its shards sees them.

    Args:
        store: Store of the run.
        scope: Name of the set, unique in the store; one run's shards must agree on it.
        total: Chunks of the whole set.
        shard: This shard, from 0.
        shards: Number of shards; chunk i belongs to shard i modulo ``shards``.
    """

    def __init__(self, store: Store, scope: str, total: int, shard: int, shards: int) -> None:
        self._store, self._prefix = store, f"claims/{scope}"
        self._total, self._shard, self._shards = total, shard, shards
        self.own = range(shard, total, shards)
        """Chunks that this shard's manifest lists."""

    def take(self, done: Callable[[int], bool]) -> Iterator[int]:
        """Yield chunks that this shard has claimed and should make: its own in order, then what is left of others.

        Args:
            done: Returns whether a chunk is already in the store; called just before claiming it.
        """
        for index in self.own:
            if not done(index) and self._claim(index):
                yield index
        if self._shards == 1:
            return
        while (left := self._left(done)) is not None:
            yield left

    def abandoned(self, index: int) -> bool:
        """Return whether the shard that claimed a chunk has given it up or died."""
        try:
            claimer = json.loads(self._read(self._key(index)))["shard"]
            seen = float(json.loads(self._read(f"{self._prefix}/alive-{claimer}"))["time"])
        except (ValueError, KeyError, TypeError):
            return True
        return claimer == self._shard or time.time() - seen > LEASE

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Send heartbeats while the block runs; an error in it releases the claims."""
        if self._shards == 1:
            yield
            return
        self._sign(time.time())
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            ended.set()
            thread.join()
            self._sign(0.0)
            raise
        finally:
            ended.set()

    def _left(self, done: Callable[[int], bool]) -> int | None:
        """Claim an unclaimed chunk, first of the next shard, from its end."""
        taken = set(self._store.keys(f"{self._prefix}/"))
        for step in range(1, self._shards):
            for index in reversed(range((self._shard + step) % self._shards, self._total, self._shards)):
                if self._key(index) not in taken and not done(index) and self._claim(index):
                    return index
        return None

    def _claim(self, index: int) -> bool:
        if self._shards == 1:
            return True
        data = json.dumps({"shard": self._shard}).encode()
        try:
            self._store.create(self._key(index), data)
        except ConflictError:
            return self._store.get(self._key(index)) == data  # an earlier attempt of this very shard
        return True

    def _read(self, key: str) -> bytes:
        return self._store.get(key) if self._store.exists(key) else b""

    def _key(self, index: int) -> str:
        return f"{self._prefix}/{index:06}"

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL):
            self._sign(time.time())

    def _sign(self, moment: float) -> None:
        # at worst a chunk is made twice; the shard's own work will report the problem with the store
        with suppress(StoreError):
            self._store.put(f"{self._prefix}/alive-{self._shard}", json.dumps({"time": moment}).encode())
