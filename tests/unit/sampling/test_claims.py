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
from thinksafe.sampling import claims as module
from thinksafe.sampling.claims import Claims
from thinksafe.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def nothing(index: int) -> bool:
    return False


def test_one_shard_takes_all_in_order_and_writes_no_claims(store: LocalStore) -> None:
    claims = Claims(store, "set", 5, 0, 1)
    with claims.alive():
        assert list(claims.take(nothing)) == [0, 1, 2, 3, 4]
    assert store.keys("") == []


def test_a_shard_begins_with_its_own_and_helps_from_the_ends_of_the_others(store: LocalStore) -> None:
    assert list(Claims(store, "set", 8, 1, 3).take(nothing)) == [1, 4, 7, 5, 2, 6, 3, 0]


def test_what_is_done_is_not_taken(store: LocalStore) -> None:
    assert list(Claims(store, "set", 6, 0, 2).take(lambda index: index in (0, 5))) == [2, 4, 3, 1]


def test_sets_do_not_meet(store: LocalStore) -> None:
    assert list(Claims(store, "one", 2, 0, 2).take(nothing)) == [0, 1]
    assert list(Claims(store, "two", 2, 1, 2).take(nothing)) == [1, 0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 30), st.integers(1, 7), st.randoms(use_true_random=False))
def test_every_chunk_is_taken_once_however_long_each_takes(
    tmp_path_factory: pytest.TempPathFactory, total: int, shards: int, draw: object
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("store"))
    queues = [Claims(store, "set", total, shard, shards).take(nothing) for shard in range(shards)]
    free, made = [(0.0, shard) for shard in range(shards)], []
    while free:
        now, shard = heapq.heappop(free)
        if (index := next(queues[shard], None)) is not None:
            made.append(index)
            heapq.heappush(free, (now + draw.expovariate(1.0), shard))  # type: ignore[attr-defined]
    assert sorted(made) == list(range(total))


def test_racing_shards_take_every_chunk_once(store: LocalStore) -> None:
    made: list[int] = []

    def run(shard: int) -> None:
        made.extend(Claims(store, "set", 40, shard, 4).take(nothing))

    threads = [threading.Thread(target=run, args=(shard,)) for shard in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(made) == list(range(40))


def test_a_shard_that_starts_again_finds_its_own_claims(store: LocalStore) -> None:
    first = Claims(store, "set", 6, 0, 2).take(nothing)
    assert [next(first), next(first)] == [0, 2]  # and is killed
    assert list(Claims(store, "set", 6, 1, 2).take(nothing)) == [1, 3, 5, 4]
    assert list(Claims(store, "set", 6, 0, 2).take(lambda index: index in (1, 3, 4, 5))) == [0, 2]


def test_a_claim_is_abandoned_when_its_shard_is_silent_or_failed(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, helper = (Claims(store, "set", 2, shard, 2) for shard in range(2))
    assert owner.abandoned(0), "nobody has claimed it"
    with helper.alive():
        assert list(helper.take(nothing)) == [1, 0]
        assert not owner.abandoned(0)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + module.LEASE + 1)
        assert owner.abandoned(0)
        monkeypatch.undo()
        assert not owner.abandoned(0)
    assert not owner.abandoned(0), "it ended well, so the chunk is there"
    with pytest.raises(KeyboardInterrupt), helper.alive():
        raise KeyboardInterrupt
    assert owner.abandoned(0)


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


def test_a_store_that_fails_does_not_look_like_an_abandoned_claim(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(key: str) -> bool:
        raise StoreError("Gone.", "Wait.")

    monkeypatch.setattr(store, "exists", gone)
    with pytest.raises(StoreError):
        Claims(store, "set", 2, 0, 2).abandoned(0)


def test_a_damaged_claim_is_abandoned(store: LocalStore) -> None:
    store.put("claims/set/000000", b"?")
    assert Claims(store, "set", 2, 0, 2).abandoned(0)
