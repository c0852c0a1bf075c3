"""One contract for every store: a local folder, moto's S3 server over HTTP, Ceph's S3 gateway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ceph import S3Server, stranger
from s3_servers import bucket, moto_s3, real_s3

from thinksafe.config.data import FileSource, PromptSet
from thinksafe.errors import ConflictError, DamagedError, MissingError, StoreError
from thinksafe.prompts.sources import load_set
from thinksafe.records import Grade
from thinksafe.run.manifests import Manifest, ensure_chunk, find_chunk, read_rows
from thinksafe.store import Store, open_store
from thinksafe.store.remote import local_folder
from thinksafe.store.s3 import PART


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, S3Server]]:
    with moto_s3() as moto:
        yield {"moto": moto}


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ceph")


@pytest.fixture(scope="module")
def gateway(ceph: Path) -> Iterator[S3Server]:
    with real_s3(ceph) as server:
        yield server


KINDS = ["local", "moto", pytest.param("ceph", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "store")
        return
    server = (
        request.getfixturevalue("servers")["moto"] if request.param == "moto" else request.getfixturevalue("gateway")
    )
    with bucket(server, monkeypatch) as address:
        yield f"{address}/{tmp_path.name}"


@pytest.fixture
def store(root: str) -> Store:
    return open_store(root)


def test_objects_are_read_back_whole(store: Store) -> None:
    data = bytes(range(256)) * 40
    store.put("a/b.bin", data)
    store.put("a/empty", b"")
    assert store.get("a/b.bin") == data
    assert store.get("a/empty") == b""
    store.put("a/b.bin", b"new")
    assert store.get("a/b.bin") == b"new"


def test_missing_objects_are_errors_that_name_the_key(store: Store, tmp_path: Path) -> None:
    assert not store.exists("nothing")
    store.put("folder/x", b"")
    for key in ("nothing", "folder", "folder/x/y", "folder/y"):
        assert not store.exists(key)
        with pytest.raises(MissingError, match=key):
            store.get(key)
        with pytest.raises(MissingError, match=key):
            store.get_file(key, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert not list(tmp_path.glob(".tmp-*"))


ODD = [
    "", "/", "/a", "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "a//b", "a/", "a/b/", "a\\b", "a\0b", "a\nb",
    "\x7f", ".tmp-1", "a/.tmp-x/b", "\ud800", "n" * 256, "é" * 128, "/".join(["n" * 200] * 4),
]


@pytest.mark.parametrize("verb", ["get", "put", "create", "exists", "delete", "get_file", "put_file", "uri"])
def test_all_stores_refuse_the_same_keys(store: Store, tmp_path: Path, verb: str) -> None:
    source, target = tmp_path / "source", tmp_path / "new" / "file"
    source.write_bytes(b"x")
    more = {"put": [b""], "create": [b""], "get_file": [target], "put_file": [source]}.get(verb, [])
    for key in ODD:
        with pytest.raises(StoreError, match=r"relative path|too long"):
            getattr(store, verb)(key, *more)
    assert store.keys("") == []
    assert not target.parent.exists(), "checked before folders are made"


@pytest.mark.parametrize("prefix", ["/", "../", "../x", "a//", "a/../../", "a//b", "./", "a\\", "a/b\0", ".tmp-x/"])
def test_all_stores_refuse_the_same_prefixes(store: Store, prefix: str) -> None:
    with pytest.raises(StoreError, match="relative path"):
        store.keys(prefix)


def test_folders_are_names_and_not_objects(store: Store) -> None:
    for key in ("runs/b/plan.json", "runs/b/c/d", "runs/a/plan.json", "runs/x.json", "runs-2/z/plan.json", "ü/漢/x"):
        store.put(key, b"")
    assert store.folders("runs/") == ["a", "b"]
    assert store.folders("runs/b/") == ["c"]
    assert store.folders("") == ["runs", "runs-2", "ü"]
    assert store.folders("ü/") == ["漢"]
    for nothing in ("none/", "runs/x.json/", "runs/a/plan.json/"):
        assert store.folders(nothing) == []
    for wrong in ("runs", "../", "/", "a//"):
        with pytest.raises(StoreError, match=r"folder|relative path"):
            store.folders(wrong)


def test_all_stores_take_the_same_keys(store: Store, tmp_path: Path) -> None:
    keys = sorted(
        [
            ".hidden", "..a/...", "a b/c+d&e=f?g#h%20i", "ü/漢字/\U0001f600", "n" * 255, "é" * 127, "-/~", "a/'\"<>|*:",
            "/".join(["n" * 174] * 4),
        ]
    )
    for key in keys:
        store.put(key, key.encode())
    assert store.keys("") == keys
    assert store.keys(".") == ["..a/...", ".hidden"]
    for key in keys:
        assert store.get(key) == key.encode()
        assert store.exists(key)
        assert store.keys(key) == [key]
        store.get_file(key, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == key.encode()
        with pytest.raises(ConflictError):
            store.create(key, b"")


def test_a_deleted_object_is_gone_and_deleting_nothing_is_no_error(store: Store) -> None:
    for key in ("a/b", "a/bc"):
        store.put(key, b"x")
    store.delete("a/b")
    assert not store.exists("a/b")
    assert store.keys("a/") == ["a/bc"]
    store.delete("a/b")
    for nothing in ("a/never/was", "a", "a/bc/x"):
        store.delete(nothing)
    assert store.keys("a/") == ["a/bc"]
    store.create("a/b", b"again")
    assert store.get("a/b") == b"again"


def test_keys_are_listed_in_order_below_a_prefix(store: Store) -> None:
    for key in ("runs/b/2.json", "runs/a/1.json", "runs/ab.json", "other"):
        store.put(key, b"x")
    assert store.keys("runs/") == ["runs/a/1.json", "runs/ab.json", "runs/b/2.json"]
    assert store.keys("runs/a") == ["runs/a/1.json", "runs/ab.json"]
    assert store.keys("none/") == []


def test_a_listing_is_complete_beyond_one_page(store: Store) -> None:
    names = [f"many/{number:05d}" for number in range(1005)]
    threads = [
        threading.Thread(target=lambda part=part: [store.put(name, b"") for name in names[part::8]])
        for part in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.keys("many/") == names


def test_exactly_one_of_many_creators_wins(root: str) -> None:
    for turn in range(3):
        wins: list[int] = []
        losses: list[int] = []

        def create(number: int, key: str, won: list[int], lost: list[int]) -> None:
            try:
                open_store(root).create(key, str(number).encode())
            except ConflictError:
                lost.append(number)
            else:
                won.append(number)

        threads = [
            threading.Thread(target=create, args=(number, f"ledger/{turn}", wins, losses)) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wins) == 1
        assert len(losses) == 7
        assert open_store(root).get(f"ledger/{turn}") == str(wins[0]).encode()


def test_files_larger_than_a_part_go_through_unchanged(store: Store, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "deep" / "copy"
    source.write_bytes(b"0123456789abcdef" * ((2 * PART + 4096) // 16))
    store.put_file("big", source)
    store.get_file("big", copy)
    assert copy.read_bytes() == source.read_bytes()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_chunks_are_found_again_and_damage_is_noticed(store: Store) -> None:
    rows = [Grade(sample_id="p/plain/0", correct=True, extracted="4", truncated=False)]
    made, old = ensure_chunk(store, "key", 0, lambda: rows)
    assert not old
    again, old = ensure_chunk(store, "key", 0, lambda: pytest.fail("made twice"))
    assert old
    assert again == made
    manifest = Manifest(kind="grades", total=1, model="m", chunks=(made,))
    assert list(read_rows(store, manifest, Grade)) == rows
    store.put(f"chunks/key/{made.digest}.jsonl", b"{}\n")
    assert find_chunk(store, "key", 0) is None
    with pytest.raises(DamagedError, match="digest differs"):
        list(read_rows(store, manifest, Grade))


def test_prompts_and_model_folders_come_from_the_store(
    root: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "://" not in root:
        pytest.skip("a local path needs no copy")
    monkeypatch.setenv("THINKSAFE_CACHE", str(tmp_path / "cache"))
    store.put("prompts.jsonl", b'{"id": "a", "prompt": "What is rain?"}\n')
    source = FileSource(source="jsonl", path=f"{root}/prompts.jsonl")
    (row,) = load_set(PromptSet(name="ours", prompts=source), "benign", 0)
    assert row.prompt == "What is rain?"
    store.put("model/config.json", b"{}")
    store.put("model/sub/x.txt", b"1")
    folder = local_folder(f"{root}/model")
    assert (folder / "sub" / "x.txt").read_bytes() == b"1"
    assert local_folder(f"{root}/model") == folder
    store.put("model/config.json", b'{"new": 1}')
    changed = local_folder(f"{root}/model")
    assert changed != folder
    assert (changed / "config.json").read_bytes() == b'{"new": 1}'


@pytest.mark.slow
def test_wrong_keys_are_refused_by_the_real_server(gateway: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**gateway.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}.items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://thinksafe/x")
    for verb, more in (("put", [b""]), ("get", []), ("exists", []), ("keys", [])):
        with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY"):
            getattr(store, verb)("a", *more)


@pytest.mark.slow
def test_a_key_without_rights_is_refused_and_nothing_looks_missing(
    gateway: S3Server, ceph: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with bucket(gateway, monkeypatch) as root:
        open_store(root).put("a", b"")
    for name, value in stranger(ceph, gateway).environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(root)
    (tmp_path / "big").write_bytes(bytes(PART + 1))
    work: list[tuple[str, list[Any]]] = [
        ("put", [b""]), ("create", [b""]), ("get", []), ("exists", []), ("keys", []), ("delete", []),
        ("get_file", [tmp_path / "copy"]), ("put_file", [tmp_path / "big"]),
    ]
    for verb, more in work:
        with pytest.raises(StoreError, match="right to read, write and list") as raised:
            getattr(store, verb)("a", *more)
        assert not isinstance(raised.value, MissingError)
    with pytest.raises(StoreError, match="right to read, write and list"):
        find_chunk(store, "k", 0)
