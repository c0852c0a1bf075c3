"""The local store keeps the promises of an object store."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from thinksafe.errors import ConfigError, ConflictError, StoreError
from thinksafe.store import open_store
from thinksafe.store.base import check_key
from thinksafe.store.local import LocalStore

NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and not name.startswith(".tmp-"))
KEYS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def test_put_replaces_and_get_returns_what_was_put(store: LocalStore) -> None:
    store.put("a/b.json", b"old")
    store.put("a/b.json", b"new")
    assert store.get("a/b.json") == b"new"
    assert store.exists("a/b.json")
    assert not store.exists("a")


def test_missing_object(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="never written"):
        store.get("nothing")
    assert not store.exists("nothing")


@given(key=KEYS, data=st.binary(max_size=2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_key_and_content_survive(tmp_path: Path, key: str, data: bytes) -> None:
    store = LocalStore(tmp_path / str(abs(hash(key))))
    store.put(key, data)
    assert store.get(key) == data
    assert store.keys("") == [key]
    assert store.keys(key) == [key]
    assert Path(store.uri(key)).read_bytes() == data


@given(key=st.text(st.sampled_from("ab./\\~ \n\0é\ud800"), max_size=12) | st.text(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_key_that_works_or_is_refused(tmp_path: Path, key: str) -> None:
    """What the check that all stores share lets through, a file system takes, under that one key."""
    store = LocalStore(tmp_path / uuid.uuid4().hex)
    try:
        check_key(key)
    except StoreError:
        with pytest.raises(StoreError):
            store.put(key, b"x")
        assert store.keys("") == []
        return
    store.put(key, b"x")
    assert store.keys("") == store.keys(key) == [key]
    assert store.get(key) == b"x"


@pytest.mark.parametrize(
    "key",
    [
        "", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "./a", "a/./b", "a//b", "a/", "a\\b", "a\0b", "a\nb",
        ".tmp-1", "a/.tmp-x/b", "\ud800",
    ],
)
@pytest.mark.parametrize("verb", ["get", "put", "create", "exists", "delete", "get_file", "put_file", "uri"])
def test_keys_that_are_no_plain_names_are_refused(store: LocalStore, tmp_path: Path, key: str, verb: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    path = tmp_path / "file"
    more: list[Any] = {"put": [b""], "create": [b""], "get_file": [path], "put_file": [path]}.get(verb, [])
    with pytest.raises(StoreError, match="not a relative path"):
        getattr(store, verb)(key, *more)
    assert not store.keys("")


@pytest.mark.parametrize("prefix", ["../", "../x", "/", "/etc", "a/../../"])
def test_listing_does_not_leave_the_root(store: LocalStore, tmp_path: Path, prefix: str) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "x").write_text("x")
    store.put("a", b"")
    with pytest.raises(StoreError, match="not a relative path"):
        store.keys(prefix)


def test_listing_by_prefix(store: LocalStore) -> None:
    for key in ("runs/1/a.json", "runs/1/b.json", "runs/10/a.json", "other"):
        store.put(key, b"")
    assert store.keys("runs/1/") == ["runs/1/a.json", "runs/1/b.json"]
    assert store.keys("runs/1") == ["runs/1/a.json", "runs/1/b.json", "runs/10/a.json"]
    assert store.keys("o") == ["other"]
    assert store.keys("missing/") == []
    assert LocalStore(Path("/nonexistent-store")).keys("") == []


def test_tags_change_with_the_object(store: LocalStore) -> None:
    store.put("a", b"one")
    before = store.tags("")
    store.put("a", b"other")
    assert before.keys() == store.tags("").keys() == {"a"}
    assert before != store.tags("")


def test_unfinished_files_are_not_listed(store: LocalStore) -> None:
    store.put("a/b", b"x")
    (Path(store.root) / "a" / ".tmp-killed").write_bytes(b"half")
    assert store.keys("") == ["a/b"]
    assert store.keys("a/") == ["a/b"]


def test_create_does_not_replace(store: LocalStore) -> None:
    store.create("a", b"first")
    with pytest.raises(ConflictError, match="already exists"):
        store.create("a", b"second")
    assert store.get("a") == b"first"


@pytest.mark.parametrize("verb", ["put", "create"])
def test_a_key_below_or_above_an_object_is_an_error_and_no_conflict(store: LocalStore, verb: str) -> None:
    """An object store has room for "a" and "a/b"; a folder has not, and must say so rather than claim a lost race."""
    store.put("a", b"")
    store.put("b/c", b"")
    for key in ("a/b", "a/b/c", "b"):
        with pytest.raises(StoreError) as raised:
            getattr(store, verb)(key, b"x")
        assert not isinstance(raised.value, ConflictError)
    assert store.keys("") == ["a", "b/c"]


def test_one_of_many_threads_creates(store: LocalStore) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def race(number: int) -> None:
        barrier.wait()
        for turn in range(20):
            try:
                store.create(f"ledger/{turn}", str(number).encode())
            except ConflictError:
                continue
            won.append(turn)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(20))


def test_one_of_many_processes_creates(store: LocalStore) -> None:
    code = (
        "import sys; from pathlib import Path; from thinksafe.store.local import LocalStore\n"
        "from thinksafe.errors import ConflictError\n"
        "store = LocalStore(Path(sys.argv[1])); input()\n"
        "for turn in range(50):\n"
        "    try: store.create(f'ledger/{turn}', sys.argv[2].encode()); print(turn)\n"
        "    except ConflictError: pass\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, store.root, str(number)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for number in range(4)
    ]
    for worker in workers:  # released together, once all are there
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    won = [int(line) for worker in workers for line in worker.communicate()[0].split()]
    assert sorted(won) == list(range(50))


@pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "Free disk space"), (errno.EDQUOT, "quota")])
@pytest.mark.parametrize("replace", [True, False])
def test_full_disk_keeps_the_old_object(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, advice: str, replace: bool
) -> None:
    store.put("a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=advice) as raised:
        store.put("a", b"new") if replace else store.create("b", b"new")
    assert os.strerror(number) in raised.value.problem
    assert store.get("a") == b"old"
    assert store.keys("") == ["a"]
    assert [path.name for path in Path(store.root).iterdir()] == ["a"]


def test_data_is_on_disk_before_it_gets_its_name(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace, link = os.fsync, os.replace, os.link
    monkeypatch.setattr(os, "fsync", lambda *args: (order.append("fsync"), fsync(*args)))
    monkeypatch.setattr(os, "replace", lambda *args: (order.append("name"), replace(*args)))
    monkeypatch.setattr(os, "link", lambda *args: (order.append("name"), link(*args)))
    store.put("a", b"x")
    store.create("b", b"x")
    assert order == ["fsync", "name"] * 2


def test_failed_rename_leaves_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"old")

    def refused(*args: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(StoreError, match="Give this user access"):
        store.put("a", b"new")
    assert [path.name for path in Path(store.root).iterdir()] == ["a"]


def test_files_go_in_and_out(store: LocalStore, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "in").write_bytes(data)
    store.put_file("big", tmp_path / "in")
    store.get_file("big", tmp_path / "new folder" / "out")
    assert (tmp_path / "new folder" / "out").read_bytes() == data
    with pytest.raises(StoreError, match="Could not read 'missing'"):
        store.get_file("missing", tmp_path / "x")
    with pytest.raises(StoreError, match="Could not copy 'big'"):
        store.get_file("big", tmp_path / "in" / "x")  # its parent is a file
    with pytest.raises(StoreError, match="Could not write 'b'"):
        store.put_file("b", tmp_path / "missing")
    assert not (tmp_path / "x").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "new folder", "store"]


def test_a_name_that_is_too_long_is_an_error_of_the_store(store: LocalStore) -> None:
    for verb, more in (("put", [b""]), ("get", []), ("exists", [])):
        with pytest.raises(StoreError):
            getattr(store, verb)("a" * 300, *more)


def test_open_store(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)).root == str(tmp_path)
    with pytest.raises(ConfigError, match="no artifact store"):
        open_store("")
    with pytest.raises(ConfigError, match="not supported"):
        open_store("ftp://host/x")


# keys of which none is a folder of another, as on any store with folders
MODEL_KEYS = st.sampled_from(["a", "b/c", "b/d", "bb", "b2/x/y"])


class StoreMachine(RuleBasedStateMachine):
    """A store is a dictionary with a conditional create."""

    @initialize()
    def start(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.store = LocalStore(Path(self.folder.name) / "s")
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(key=MODEL_KEYS, data=st.binary(max_size=50))
    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, data)
        self.model[key] = data

    @rule(key=MODEL_KEYS, data=st.binary(max_size=50))
    def create(self, key: str, data: bytes) -> None:
        try:
            self.store.create(key, data)
        except ConflictError:
            assert key in self.model
        else:
            assert key not in self.model
            self.model[key] = data

    @rule(key=MODEL_KEYS)
    def get(self, key: str) -> None:
        assert self.store.exists(key) == (key in self.model)
        if key in self.model:
            assert self.store.get(key) == self.model[key]
        else:
            with pytest.raises(StoreError):
                self.store.get(key)

    @rule(key=MODEL_KEYS, data=st.binary(max_size=50))
    def put_file(self, key: str, data: bytes) -> None:
        path = Path(self.folder.name) / "file"
        path.write_bytes(data)
        self.store.put_file(key, path)
        self.model[key] = data

    @rule(prefix=st.sampled_from(["", "a", "b", "b/", "b/c", "b2", "b2/x/", "z"]))
    def keys(self, prefix: str) -> None:
        assert self.store.keys(prefix) == sorted(key for key in self.model if key.startswith(prefix))

    @invariant()
    def holds_nothing_else(self) -> None:
        if hasattr(self, "store"):
            assert self.store.keys("") == sorted(self.model)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
