"""A set of chunks is completed alone or by several processes: the same rows, whoever is killed or fails."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from thinksafe.errors import DamagedError, InputError, StageError
from thinksafe.records import Grade
from thinksafe.run.manifests import Chunk, marker_key, read_chunk, write_chunk
from thinksafe.run.record import Advance, StageContext, StageResult
from thinksafe.store import Store
from thinksafe.store.local import LocalStore
from thinksafe.work.complete import Made, complete
from thinksafe.work.order import ChunkSet

SIZES = [2, 2, 2, 2, 1]
SECRET = "text of a prompt"


class Section(BaseModel):
    """What the workers of a test do."""

    name: str = "x"
    sets: int = 1


class Rows:
    """Makes chunks of grades; ``acts.json`` says at which chunk something happens."""

    facts = {"guard": "tests"}

    def __init__(self, store: Store, section: Section, acts: dict[str, int], number: int) -> None:
        self._store, self._acts = store, acts
        self.keys = [f"{section.name}-{number}-{index}" for index in range(len(SIZES))]

    def make(self, wanted: Iterator[int], advance: Advance) -> Iterator[Chunk]:
        for index in wanted:
            for act, at in self._acts.items():
                if index != at or (act in ("kill", "once") and self._store.exists(f"acted/{act}")):
                    continue
                self._store.put(f"acted/{act}", b"")
                if act == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ValueError(SECRET) if act == "unknown" else InputError("Prompt 7 is too long.", "Shorten it.")
            self._store.put(f"made/{self.keys[index]}-{time.time_ns()}", b"")
            rows = [
                Grade(sample_id=f"{index}-{row}", extracted="1", correct=True, truncated=False)
                for row in range(SIZES[index])
            ]
            yield write_chunk(self._store, self.keys[index], index, rows)
            advance(SIZES[index])


def open_rows(store: Store, section: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[ChunkSet]:
    given = Section.model_validate(section)
    acts = json.loads(files["acts.json"].read_text())
    for number in range(given.sets):
        yield Rows(store, given, acts, number)


def open_nothing(store: Store, section: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[ChunkSet]:
    raise AssertionError("no worker is needed")


class Shown:
    """The rows that a progress bar counted."""

    def __init__(self) -> None:
        self.rows, self.reused, self.total = 0, 0, 0

    def add(self, rows: int, /, *, reused: bool = False) -> None:
        self.rows += rows
        self.reused += rows * reused

    def track(self, label: str, total: int) -> Any:
        assert label == "grading"
        self.total = total

        @contextmanager
        def bar() -> Iterator[Advance]:
            yield self.add

        return bar()


@pytest.fixture
def run(tmp_path: Path, make_context: Callable[..., StageContext]) -> Callable[..., list[Made]]:
    """Return a function that completes the chunks of a section."""

    def completed(
        parallelism: int, acts: dict[str, int] | None = None, *, sets: int = 1, shown: Shown | None = None,
        opener: Any = open_rows, **changes: Any,
    ) -> list[Made]:
        path = tmp_path / "acts.json"
        path.write_text(json.dumps(acts or {}))
        context = make_context("grade", **({"track": shown.track} if shown else {}), **changes)
        return complete(
            context, Section(sets=sets), StageResult(), label="grading", files={"acts.json": path},
            sizes=[SIZES] * sets, opener=opener, parallelism=parallelism,
        )

    return completed


def made(store: LocalStore) -> list[str]:
    """Keys of the chunks that workers made, each time that one was."""
    return sorted(key.removeprefix("made/").rpartition("-")[0] for key in store.keys("made/"))


KEYS = [f"x-0-{index}" for index in range(len(SIZES))]


@pytest.mark.parametrize("parallelism", [1, 2, 3, 50])
def test_the_chunks_are_the_same_at_any_width(
    run: Callable[..., list[Made]], store: LocalStore, parallelism: int
) -> None:
    shown = Shown()
    (found,) = run(parallelism, shown=shown)
    assert [(chunk.index, chunk.key, chunk.rows) for chunk in found.chunks] == list(
        zip(range(len(SIZES)), KEYS, SIZES, strict=True)
    )
    assert found.reused == frozenset()
    assert found.facts == {"guard": "tests"}
    assert made(store) == KEYS, "no chunk is made twice"
    assert (shown.rows, shown.total) == (sum(SIZES), sum(SIZES))
    assert [row.sample_id for row in read_chunk(store, found.chunks[4], Grade)] == ["4-0"]


def test_one_worker_needs_no_order_and_no_claims(run: Callable[..., list[Made]], store: LocalStore) -> None:
    run(1)
    assert {key.partition("/")[0] for key in store.keys("")} == {"chunks", "made"}


def test_only_the_keys_of_the_chunks_stay_of_an_order(run: Callable[..., list[Made]], store: LocalStore) -> None:
    run(2)
    assert [key.rpartition("/")[2] for key in store.keys("work/")] == ["keys-0.json"]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_second_run_reuses_all_and_a_third_what_is_left(
    run: Callable[..., list[Made]], store: LocalStore, parallelism: int
) -> None:
    (first,) = run(parallelism)
    (second,) = run(parallelism, run_id="run-2")
    assert second.chunks == first.chunks
    assert second.reused == frozenset(range(len(SIZES)))
    store.delete(marker_key(KEYS[2]))
    (third,) = run(parallelism, run_id="run-3")
    assert third.reused == {0, 1, 3, 4}
    assert made(store) == sorted([*KEYS, KEYS[2]])


def test_workers_start_only_where_something_is_missing(run: Callable[..., list[Made]]) -> None:
    run(2)
    shown = Shown()
    (again,) = run(2, opener=open_nothing, shown=shown, run_id="run-2")
    assert again.facts == {"guard": "tests"}, "as the first worker said"
    assert (shown.rows, shown.reused) == (sum(SIZES), sum(SIZES))


@pytest.mark.parametrize("parallelism", [1, 2])
def test_sets_are_made_one_after_the_other(
    run: Callable[..., list[Made]], store: LocalStore, parallelism: int
) -> None:
    shown = Shown()
    found = run(parallelism, sets=2, shown=shown)
    keys = [[chunk.key for chunk in each.chunks] for each in found]
    assert keys == [KEYS, [key.replace("-0-", "-1-") for key in KEYS]]
    assert shown.rows == 2 * sum(SIZES)


def test_a_killed_worker_costs_its_chunk_and_the_next_attempt_makes_it(
    run: Callable[..., list[Made]], store: LocalStore
) -> None:
    with pytest.raises(StageError, match=r"process \d by signal 9.*1 of 5 chunks are missing"):
        run(2, {"kill": 3})
    (found,) = run(2, {"kill": 3})
    assert len(found.chunks) == 5
    assert made(store) == KEYS, "what others made stayed"


def test_the_error_of_a_worker_is_the_error_of_the_stage(run: Callable[..., list[Made]], store: LocalStore) -> None:
    with pytest.raises(InputError, match="Prompt 7 is too long") as raised:
        run(2, {"known": 1})
    assert raised.value.action == "Shorten it."
    assert sorted(set(made(store))) == [key for key in KEYS if key != "x-0-1"], "what could be made was"


def test_another_worker_makes_what_one_failed_at(run: Callable[..., list[Made]], store: LocalStore) -> None:
    (found,) = run(2, {"once": 0})
    assert len(found.chunks) == 5
    assert made(store) == KEYS


def test_an_unexpected_error_shows_its_place_and_not_its_text(
    run: Callable[..., list[Made]], store: LocalStore, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StageError, match=r"unexpected ValueError at test_complete\.py:\d+") as raised:
        run(2, {"unknown": 0})
    stored = b"".join(store.get(key) for key in store.keys("work/"))
    assert SECRET not in f"{raised.value}{capfd.readouterr()}"
    assert SECRET.encode() not in stored


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_damaged_chunk_is_made_again(
    run: Callable[..., list[Made]], store: LocalStore, parallelism: int
) -> None:
    (first,) = run(parallelism)
    rows = next(key for key in store.keys(f"chunks/{KEYS[1]}/") if key.endswith(".jsonl"))
    Path(store.root, rows).write_bytes(b"{}\n")
    (second,) = run(parallelism, run_id="run-2")
    assert second.chunks == first.chunks
    assert made(store) == sorted([*KEYS, KEYS[1]])
    assert len(read_chunk(store, second.chunks[1], Grade)) == 2


@pytest.mark.parametrize("index", range(len(SIZES)))
@pytest.mark.parametrize("lost", [False, True])
def test_a_chunk_of_the_same_run_that_is_damaged_or_lost_is_made_again(
    run: Callable[..., list[Made]], store: LocalStore, index: int, lost: bool
) -> None:
    """Its claims say that it is done, and any worker may have made it."""
    (first,) = run(2)
    if lost:
        store.delete(marker_key(KEYS[index]))
    else:
        rows = next(key for key in store.keys(f"chunks/{KEYS[index]}/") if key.endswith(".jsonl"))
        Path(store.root, rows).write_bytes(b"{}\n")
    (second,) = run(2)
    assert second.chunks == first.chunks
    assert made(store) == sorted([*KEYS, KEYS[index]])


def test_a_chunk_that_is_damaged_each_time_ends_the_stage(
    run: Callable[..., list[Made]], store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thinksafe.work.complete.find_chunk", lambda *_: None)
    with pytest.raises(DamagedError, match="damaged again"):
        run(2)
    assert made(store) == sorted([*KEYS, *KEYS]), "it was made twice, and no third time"
