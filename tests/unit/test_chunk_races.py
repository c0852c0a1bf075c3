"""Writers of one chunk whose rows differ: whatever the order of their steps, all who finish hold the same rows."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinksafe.errors import StoreError
from thinksafe.records import Grade
from thinksafe.run.manifests import Chunk, ensure_chunk, find_chunk, read_chunk, write_chunk
from thinksafe.store.local import LocalStore


class Killed(BaseException):
    """The writer's process is gone."""


class Stepped(LocalStore):
    """A store whose every operation waits until it is told to go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waiting, self.go, self.killed = threading.Semaphore(0), threading.Semaphore(0), False

    def _step(self) -> None:
        self.waiting.release()
        self.go.acquire()
        if self.killed:
            raise Killed

    def get(self, key: str) -> bytes:
        self._step()
        return super().get(key)

    def put(self, key: str, data: bytes) -> None:
        self._step()
        super().put(key, data)

    def create(self, key: str, data: bytes) -> None:
        self._step()
        super().create(key, data)


class Writer:
    """``ensure_chunk`` in a thread of its own, one store operation at a time."""

    def __init__(self, folder: Path, number: int, kill_after: int | None) -> None:
        self.store, self.rows = Stepped(folder), rows_of(number)
        self.result: Chunk | None = None
        self._left = kill_after
        self._thread = threading.Thread(target=self._run, args=(number,))
        self._thread.start()
        self.store.waiting.acquire()

    def _run(self, number: int) -> None:
        try:
            self.result, _ = ensure_chunk(self.store, "k", number, lambda: self.rows)
        except Killed:
            pass
        finally:
            self.store.waiting.release()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def step(self) -> None:
        """Let one operation happen, or the kill in its place."""
        self.store.killed = self._left == 0
        if self._left is not None:
            self._left -= 1
        self.store.go.release()
        self.store.waiting.acquire()
        if self.store.killed:
            self._thread.join()

    def finish(self) -> None:
        while self.result is None and not self.store.killed:
            self.step()
        self._thread.join()


def rows_of(number: int) -> list[Grade]:
    return [
        Grade(sample_id=f"p/plain/{index}", correct=number % 2 == 0, extracted=str(number), truncated=False)
        for index in range(2 + number % 2)
    ]


@given(
    kills=st.lists(st.none() | st.integers(0, 4), min_size=2, max_size=4),
    order=st.lists(st.integers(0, 3), max_size=24),
)
@settings(max_examples=80)
def test_all_who_finish_hold_the_same_rows(kills: list[int | None], order: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain = LocalStore(Path(folder))
        writers = [Writer(Path(folder), number, kill) for number, kill in enumerate(kills)]
        seen: set[str] = set()

        def look() -> None:
            if (found := find_chunk(plain, "k", 0)) is not None:
                seen.add(found.digest)

        for place in order:
            writer = writers[place % len(writers)]
            if writer.result is None and not writer.store.killed:
                writer.step()
                look()
        for writer in writers:
            writer.finish()
            look()
        results = [writer.result for writer in writers if writer.result is not None]
        assert len({chunk.digest for chunk in results} | seen) <= 1, "a chunk that was found once stays the chunk"
        assert [chunk.index for chunk in results] == [i for i, writer in enumerate(writers) if writer.result]
        for chunk in results:
            assert read_chunk(plain, chunk, Grade) in [writer.rows for writer in writers]
        again, _ = ensure_chunk(plain, "k", 0, lambda: rows_of(9))
        assert read_chunk(plain, again, Grade)
        assert not seen or again.digest in seen


@pytest.mark.parametrize("damage", ["marker", "rows"])
def test_a_damaged_chunk_made_again_by_two_stays_readable_for_both(tmp_path: Path, damage: str) -> None:
    store = LocalStore(tmp_path)
    old = write_chunk(store, "k", 0, rows_of(0))
    torn = "chunks/k/done.json" if damage == "marker" else f"chunks/k/{old.digest}.jsonl"
    store.put(torn, b"{")
    writers = [Writer(tmp_path, 1, None), Writer(tmp_path, 3, None)]
    for _ in range(12):
        for writer in writers:
            if writer.result is None:
                writer.step()
    for writer in writers:
        writer.finish()
        assert writer.result is not None
        assert read_chunk(store, writer.result, Grade) in (rows_of(1), rows_of(3))
    found = find_chunk(store, "k", 0)
    assert found is not None
    assert found.digest in {writer.result.digest for writer in writers if writer.result}


@pytest.mark.parametrize("fails_at", [0, 1])
def test_an_outage_is_no_missing_chunk(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Rows are hours of a GPU: they are not made again because the store does not answer."""
    write_chunk(store, "k", 0, rows_of(0))
    get: Callable[[str], bytes] = store.get
    calls: list[str] = []

    def unwell(key: str) -> bytes:
        calls.append(key)
        if len(calls) > fails_at:
            raise StoreError("Could not read.", "Wait.")
        return get(key)

    monkeypatch.setattr(store, "get", unwell)
    with pytest.raises(StoreError, match="Could not read"):
        ensure_chunk(store, "k", 0, lambda: pytest.fail("made again"))
