"""Claims: no chunk twice, none left out, whoever is fast, slow, killed or silent."""

from __future__ import annotations

import heapq
import json
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thinksafe.errors import StoreError
from thinksafe.store.local import LocalStore
from thinksafe.work import claims as module
from thinksafe.work.claims import Claims, claimed, rows_made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def nothing(index: int) -> bool:
    return False


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_a_worker_begins_with_every_nth_and_goes_on_with_the_ends_of_the_others(store: LocalStore) -> None:
    assert list(Claims(store, "set", 8, 1, 3).take(nothing)) == [1, 4, 7, 5, 2, 6, 3, 0]
    assert claimed(store, "set") == frozenset(range(8))


def test_what_is_done_is_not_taken(store: LocalStore) -> None:
    assert list(Claims(store, "set", 6, 0, 2).take(lambda index: index in (0, 5))) == [2, 4, 3, 1]


def test_sets_do_not_meet(store: LocalStore) -> None:
    assert list(Claims(store, "one", 2, 0, 2).take(nothing)) == [0, 1]
    assert list(Claims(store, "two", 2, 1, 2).take(nothing)) == [1, 0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 30), st.integers(1, 7), st.randoms(use_true_random=False))
def test_every_chunk_is_taken_once_however_long_each_takes(
    tmp_path_factory: pytest.TempPathFactory, total: int, workers: int, draw: object
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("store"))
    queues = [Claims(store, "set", total, worker, workers) for worker in range(workers)]
    for queue in queues:
        queue._sign(time.time())
    takes = [queue.take(nothing) for queue in queues]
    free, made = [(0.0, worker) for worker in range(workers)], []
    while free:
        now, worker = heapq.heappop(free)
        if (index := next(takes[worker], None)) is not None:
            made.append(index)
            heapq.heappush(free, (now + draw.expovariate(1.0), worker))  # type: ignore[attr-defined]
    assert sorted(made) == list(range(total))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 8), st.integers(1, 3), st.data())
def test_whoever_dies_and_starts_again_every_chunk_is_made(
    tmp_path_factory: pytest.TempPathFactory, total: int, workers: int, data: st.DataObject
) -> None:
    """Workers claim a chunk, and are killed with it or make it; a killed one may start again."""
    store, made = LocalStore(tmp_path_factory.mktemp("store")), set[int]()

    def start(worker: int) -> object:
        claims = Claims(store, "set", total, worker, workers)
        claims._sign(time.time())
        return claims.take(made.__contains__)

    running = {worker: start(worker) for worker in range(workers)}
    for _ in range(3 * total):
        worker = data.draw(st.sampled_from(range(workers)))
        index = next(running[worker], None)  # type: ignore[call-overload]
        if index is not None and data.draw(st.booleans()):
            assert index not in made
            made.add(index)
        else:
            running[worker] = start(worker)
    for worker in range(workers):
        for index in start(worker):  # type: ignore[attr-defined]
            made.add(index)
    assert made == set(range(total))


def test_racing_workers_take_every_chunk_once(store: LocalStore) -> None:
    made: list[int] = []

    def run(worker: int) -> None:
        claims = Claims(store, "set", 40, worker, 4)
        with claims.alive():
            made.extend(claims.take(nothing))

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(made) == list(range(40))


def test_a_worker_that_starts_again_finds_all_its_own_claims(store: LocalStore) -> None:
    first = Claims(store, "set", 4, 0, 2)
    first._sign(time.time())
    assert list(first.take(nothing)) == [0, 2, 3, 1]  # and is killed before it has made any
    other = Claims(store, "set", 4, 1, 2)
    assert list(other.take(nothing)) == [], "the first one may be at work"
    assert list(Claims(store, "set", 4, 0, 2).take(lambda index: index == 3)) == [0, 2, 1]


def test_a_silent_workers_claims_are_taken_over_once(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Claims(store, "set", 4, 0, 3)
    dead._sign(time.time())
    taken = dead.take(nothing)
    assert [next(taken), next(taken)] == [0, 3]  # and is killed
    one, two = (Claims(store, "set", 4, worker, 3) for worker in (1, 2))
    assert list(one.take(nothing)) == [1, 2]
    later(monkeypatch, module.LEASE + 1)
    one._sign(time.time())
    assert list(two.take(lambda index: index in (1, 2))) == [3, 0]
    two._sign(time.time())
    assert list(one.take(lambda index: index in (1, 2))) == [], "the second one has them now"
    assert list(Claims(store, "set", 4, 0, 3).take(lambda index: index in (1, 2))) == []


def test_a_worker_that_failed_gives_its_claims_up_at_once(store: LocalStore) -> None:
    failing = Claims(store, "set", 2, 0, 2)
    assert list(failing.take(nothing)) == [0, 1]
    with pytest.raises(KeyboardInterrupt), failing.alive():
        raise KeyboardInterrupt
    assert sorted(Claims(store, "set", 2, 1, 2).take(nothing)) == [0, 1]


def test_signs_of_life_are_renewed(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL", 0.01)
    claims = Claims(store, "set", 2, 0, 2)

    def seen() -> float:
        return float(json.loads(store.get("claims/set/alive-0"))["time"])

    with claims.alive():
        first, end = seen(), time.monotonic() + 20
        while seen() == first:
            assert time.monotonic() < end, "no further sign of life"
            time.sleep(0.01)


def test_heartbeats_tell_how_many_rows_were_made(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEWS", 0.0)
    assert rows_made(store, "set", 3) == 0
    with Claims(store, "set", 9, 0, 3).alive() as one, Claims(store, "set", 9, 2, 3).alive() as two:
        one(4)
        two(3)
        two(3)
        assert rows_made(store, "set", 3) == 10
    store.put("claims/set/alive-1", b"?")
    assert rows_made(store, "set", 3) == 10


def test_a_store_that_fails_does_not_look_like_an_abandoned_claim(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(Claims(store, "set", 2, 0, 2).take(nothing))

    def gone(key: str) -> bytes:
        raise StoreError("Gone.", "Wait.")

    monkeypatch.setattr(store, "get", gone)
    with pytest.raises(StoreError):
        list(Claims(store, "set", 2, 1, 2).take(nothing))


def test_a_damaged_claim_is_taken_over(store: LocalStore) -> None:
    store.put("claims/set/000000-0", b"?")
    store.put("claims/set/000001-0", b'{"worker": "x"}')
    assert sorted(Claims(store, "set", 2, 0, 1).take(nothing)) == [0, 1]
