"""The S3 store behind a network and a server that fail: nothing is lost, doubled or torn, and what is final is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ceph import S3Server
from flaky_proxy import Fault, FlakyProxy
from s3_servers import bucket

from thinksafe.errors import ConflictError, DamagedError, MissingError, StoreError
from thinksafe.records import Grade
from thinksafe.run.manifests import Chunk, ensure_chunk, read_chunk, write_chunk
from thinksafe.store.retries import VARIABLE
from thinksafe.store.s3 import PART, S3Store

DATA = bytes(range(256)) * 8192
ROWS = [Grade(sample_id="p/plain/0", correct=True, extracted="4", truncated=False)]


@pytest.fixture(params=["moto", pytest.param("gateway", marks=pytest.mark.slow)])
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    server: S3Server = request.getfixturevalue(request.param)
    with bucket(server, monkeypatch), FlakyProxy(server.endpoint, seed=5) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
        monkeypatch.setenv(VARIABLE, "60")
        yield made


@pytest.fixture
def root(proxy: FlakyProxy, tmp_path: Path) -> str:
    return f"s3://thinksafe/{tmp_path.name}"


@pytest.fixture
def store(root: str) -> S3Store:
    return S3Store(root)


def struck(proxy: FlakyProxy) -> list[str]:
    return [seen.fault for seen in proxy.seen if seen.fault]


def test_a_create_whose_answer_is_lost_knows_its_own_object(proxy: FlakyProxy, store: S3Store, root: str) -> None:
    proxy.add(Fault("lost", method="PUT", times=2))
    store.create("x", b"mine")
    assert struck(proxy) == ["lost", "lost"]
    assert store.get("x") == b"mine"
    with pytest.raises(ConflictError):
        S3Store(root).create("x", b"other")
    assert store.get("x") == b"mine"


def test_a_create_that_lost_while_its_answer_was_lost_too(proxy: FlakyProxy, store: S3Store, root: str) -> None:
    S3Store(root).create("x", b"theirs")
    proxy.add(Fault("lost", method="PUT"))
    with pytest.raises(ConflictError):
        store.create("x", b"mine")
    assert struck(proxy) == ["lost"]
    assert store.get("x") == b"theirs"


def test_a_create_that_lands_after_all_does_not_replace_the_winner(proxy: FlakyProxy, root: str) -> None:
    late = Fault("late", method="PUT", after=threading.Event())
    proxy.add(late)
    with pytest.raises(StoreError, match="Could not write") as raised:
        S3Store(root, retry_seconds=0).create("x", b"late")
    assert not isinstance(raised.value, ConflictError)
    S3Store(root).create("x", b"winner")
    assert late.after is not None
    late.after.set()
    assert late.landed.wait(60)
    assert S3Store(root).get("x") == b"winner"


def test_a_create_that_lands_beside_its_own_retry(proxy: FlakyProxy, store: S3Store) -> None:
    proxy.add(Fault("late", method="PUT", wait=0.7))
    store.create("x", b"mine")
    time.sleep(1)
    assert store.get("x") == b"mine"


def test_racing_creators_whose_answers_are_lost(proxy: FlakyProxy, root: str) -> None:
    proxy.add(Fault("lost", method="PUT", times=None, chance=0.5))
    won, lost = list[int](), list[int]()

    def create(number: int) -> None:
        try:
            S3Store(root).create("ledger/1", str(number).encode())
        except ConflictError:
            lost.append(number)
        else:
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "lost" in struck(proxy)
    assert (len(won), len(lost)) == (1, 7)
    proxy.clear()
    assert S3Store(root).get("ledger/1") == str(won[0]).encode()


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_body_that_is_cut_is_read_again(proxy: FlakyProxy, store: S3Store, tmp_path: Path, share: float) -> None:
    store.put("x", DATA)
    proxy.add(Fault("cut", method="GET", times=2, share=share))
    assert store.get("x") == DATA
    proxy.add(Fault("cut", method="GET", times=2, share=share))
    store.get_file("x", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA
    assert struck(proxy) == ["cut"] * 4


def test_a_body_that_is_always_cut_is_an_error_and_no_file(proxy: FlakyProxy, root: str, tmp_path: Path) -> None:
    store = S3Store(root, retry_seconds=1)
    store.put("x", DATA)
    proxy.add(Fault("cut", method="GET", times=None))
    with pytest.raises(StoreError, match="Could not read") as raised:
        store.get("x")
    assert not isinstance(raised.value, DamagedError | MissingError)
    with pytest.raises(StoreError, match="Could not read"):
        store.get_file("x", tmp_path / "folder" / "copy")
    assert list((tmp_path / "folder").iterdir()) == []
    assert len(struck(proxy)) > 3


def test_a_listing_goes_on_where_it_was_cut(proxy: FlakyProxy, store: S3Store) -> None:
    for name in "abc":
        store.put(f"list/{name}", b"")
    proxy.add(Fault("cut", method="GET", path="list-type=2"), Fault("status", path="list-type=2"))
    assert store.keys("list/") == ["list/a", "list/b", "list/c"]
    assert struck(proxy) == ["cut", "status"]


OUTAGES = {
    "unavailable": Fault("status", times=None, seconds=1),
    "slow down": Fault("status", times=2, error="SlowDown"),
    "internal error": Fault("status", times=2, code=500, error="InternalError"),
    "too many requests": Fault("status", times=2, code=429, error="TooManyRequests"),
    "time-out of the server": Fault("status", times=2, code=400, error="RequestTimeout"),
    "gone": Fault("refuse", wait=1),
    "reset": Fault("reset", times=2),
    "cut in the upload": Fault("cut upload", times=2),
    "late": Fault("delay", times=1, wait=1),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_ridden_out(proxy: FlakyProxy, store: S3Store, outage: str) -> None:
    fault = OUTAGES[outage]
    proxy.add(fault)
    store.put("x", DATA)
    proxy.clear()
    before = len(struck(proxy))
    proxy.add(fault)
    assert store.get("x") == DATA
    assert len(struck(proxy)) > before > 0


def test_a_conflict_of_conditional_writes_is_no_lost_race(proxy: FlakyProxy, store: S3Store) -> None:
    proxy.add(Fault("status", times=2, code=409, error="ConditionalRequestConflict"))
    store.create("x", b"mine")
    assert struck(proxy) == ["status"] * 2


def test_a_server_that_falls_silent_is_asked_again(
    proxy: FlakyProxy, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its answer, and in the middle of a body; a write that timed out lands later, beside its repetition."""
    monkeypatch.setattr("thinksafe.store.s3.READ_SECONDS", 0.5)
    store = S3Store(root)
    proxy.add(Fault("delay", method="PUT", times=2, wait=1))
    store.create("x", DATA)
    proxy.add(Fault("delay", method="GET", wait=1), Fault("cut", method="GET", times=2, wait=1))
    assert store.get("x") == DATA
    store.get_file("x", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA
    assert sorted(struck(proxy)) == ["cut", "cut", "delay", "delay", "delay"]


def test_a_slow_body_is_whole(proxy: FlakyProxy, store: S3Store) -> None:
    store.put("x", DATA)
    proxy.add(Fault("slow", method="GET", rate=len(DATA) * 2))
    assert store.get("x") == DATA
    assert struck(proxy) == ["slow"]


@pytest.mark.parametrize("kind", ["lost", "cut upload", "status", "reset"])
@pytest.mark.parametrize("path", ["uploads", "partNumber=2", r"uploadId=[^&]+$"])
def test_files_in_parts_survive(
    proxy: FlakyProxy, store: S3Store, tmp_path: Path, kind: str, path: str
) -> None:
    """At its start, in a part, and at its completion, each of which may be lost or refused."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(DATA * (2 * PART // len(DATA) + 1))
    proxy.add(Fault(kind, path=path))  # type: ignore[arg-type]
    store.put_file("big", source)
    assert struck(proxy) == [kind]
    store.get_file("big", copy)
    assert copy.read_bytes() == source.read_bytes()
    assert store.keys("") == ["big"]


def test_a_long_outage_fails_the_call_and_says_so(proxy: FlakyProxy, root: str, tmp_path: Path) -> None:
    store = S3Store(root, retry_seconds=1)
    (tmp_path / "big").write_bytes(bytes(PART + 1))
    proxy.add(Fault("status", times=None))
    work: list[Callable[[], object]] = [
        lambda: store.put("x", b""), lambda: store.create("x", b""), lambda: store.get("x"),
        lambda: store.exists("x"), lambda: store.keys(""), lambda: store.delete("x"),
        lambda: store.put_file("x", tmp_path / "big"),
    ]
    for call in work:
        with pytest.raises(StoreError, match=r"finished work is kept") as raised:
            call()
        assert not isinstance(raised.value, MissingError | ConflictError)
    assert len(struck(proxy)) >= 2 * len(work)


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (403, "AccessDenied", "right to read, write and list"), (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        (404, "NoSuchBucket", "Create the bucket"), (403, "QuotaExceeded", "quota"),
        (507, "InsufficientStorage", "server"),
    ],
)
def test_what_is_final_is_asked_once(proxy: FlakyProxy, store: S3Store, code: int, error: str, advice: str) -> None:
    proxy.add(Fault("status", times=None, code=code, error=error))
    for call in (lambda: store.get("x"), lambda: store.put("x", b""), lambda: store.create("x", b"")):
        before = len(proxy.seen)
        with pytest.raises(StoreError, match=advice) as raised:
            call()
        assert not isinstance(raised.value, MissingError)
        assert len(proxy.seen) == before + 1


@pytest.mark.parametrize("path", ["done.json", "jsonl"])
@pytest.mark.parametrize(("code", "error"), [(503, "ServiceUnavailable"), (403, "AccessDenied")])
def test_an_outage_or_a_refusal_is_no_missing_chunk(
    proxy: FlakyProxy, root: str, path: str, code: int, error: str
) -> None:
    """Rows are hours of a GPU: they are made again when they are known to be gone, and only then."""
    store = S3Store(root, retry_seconds=0)
    write_chunk(store, "k", 0, ROWS)
    proxy.add(Fault("status", times=None, path=path, code=code, error=error))
    with pytest.raises(StoreError, match=f"Could not read.*{error}"):
        ensure_chunk(store, "k", 0, lambda: pytest.fail("made again"))
    proxy.clear()
    assert ensure_chunk(store, "k", 0, lambda: pytest.fail("made again"))[1]


def test_racing_chunk_writers_hold_the_same_rows(proxy: FlakyProxy, root: str) -> None:
    """Some of the answers to the writes are lost on top."""
    proxy.add(Fault("lost", method="PUT", times=None, chance=0.3))
    made: list[Chunk] = []
    start = threading.Barrier(6)

    def write(number: int) -> None:
        store = S3Store(root)
        start.wait()
        made.append(write_chunk(store, "k", number, [ROWS[0].model_copy(update={"extracted": str(number)})]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "lost" in struck(proxy)
    proxy.clear()
    assert len(made) == 6
    assert len({chunk.digest for chunk in made}) == 1
    (row,) = read_chunk(S3Store(root), made[0], Grade)
    assert row.extracted in set("012345")


@pytest.mark.slow
def test_bad_weather_loses_nothing(proxy: FlakyProxy, root: str, tmp_path: Path) -> None:
    """Every fourth request fails in one way or another, under four writers."""
    for kind in ("status", "lost", "reset", "cut", "cut upload"):
        proxy.add(Fault(kind, times=None, chance=0.05))  # type: ignore[arg-type]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        store = S3Store(root)
        try:
            for turn in range(8):
                data = f"{number}-{turn}".encode() * 1000
                store.create(f"c/{number}/{turn}", data)
                store.put(f"p/{number}/{turn}", data)
                assert store.get(f"c/{number}/{turn}") == store.get(f"p/{number}/{turn}") == data
                assert store.exists(f"p/{number}/{turn}")
                assert len(store.keys(f"p/{number}/")) == turn + 1
                assert not store.exists(f"p/{number}/{turn + 1}")
                with pytest.raises(MissingError):
                    store.get(f"p/{number}/{turn + 1}")
                with pytest.raises(ConflictError):
                    store.create(f"c/{number}/{turn}", data)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(S3Store(root).keys("")) == 64
    assert set(struck(proxy)) == {"status", "lost", "reset", "cut", "cut upload"}
