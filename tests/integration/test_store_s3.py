"""What is of S3 alone: errors, objects of others, copies in the cache; on moto's server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ceph import S3Server
from s3_servers import BUCKET, bucket, moto_s3

from thinksafe.errors import ConfigError, DamagedError, InputError, MissingError, StoreError
from thinksafe.micro.students import student_path
from thinksafe.models.loading import resolve_student
from thinksafe.settings import StudentSettings
from thinksafe.store import open_store
from thinksafe.store.remote import local_file, local_folder
from thinksafe.store.s3 import S3Store, s3_client


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_s3() as running:
        yield running


@pytest.fixture
def moto(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with bucket(server, monkeypatch) as address:
        yield address


def test_a_student_in_the_store_is_the_same_student(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINKSAFE_CACHE", str(tmp_path / "cache"))
    store = open_store(f"{moto}/student")
    for path in student_path("default").iterdir():
        if path.is_file():
            store.put_file(path.name, path)
    here, there = (
        resolve_student(StudentSettings(model=model)) for model in ("micro://default", f"{moto}/student")
    )
    assert there.digest == here.digest


def test_an_object_changed_in_place_is_noticed_on_reading(moto: str) -> None:
    store = open_store(f"{moto}/changed")
    store.put("x", b"right")
    metadata = s3_client().head_object(Bucket=BUCKET, Key="tests/changed/x")["Metadata"]
    s3_client().put_object(Bucket=BUCKET, Key="tests/changed/x", Body=b"wrong", Metadata=metadata)
    with pytest.raises(StoreError, match="damaged"):
        store.get("x")


def test_errors_say_what_to_do(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = open_store("s3://no-such-bucket/x")
    for verb, more in (("put", [b""]), ("create", [b""]), ("get", []), ("exists", []), ("keys", [])):
        with pytest.raises(StoreError, match="Create the bucket") as raised:
            getattr(elsewhere, verb)("a", *more)
        assert not isinstance(raised.value, MissingError)
    for root in ("s3://", "s3:///x"):
        with pytest.raises(ConfigError, match="does not name a bucket"):
            open_store(root)
    for root in ("s3://bucket/a//b", "s3://bucket/../x", f"s3://bucket/{'p' * 200}/{'q' * 200}"):
        with pytest.raises(ConfigError, match="malformed or too long"):
            open_store(root)
    with pytest.raises(ConfigError, match="Correct the address"):
        open_store("s3://no bucket/x").put("a", b"")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        open_store(moto).put("a", b"")


def test_folder_markers_and_unfinished_files_are_no_objects(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consoles make an empty object ``folder/`` for each folder; ours would not be able to read it."""
    monkeypatch.setenv("THINKSAFE_CACHE", str(tmp_path / "cache"))
    for key in ("m/", "m/sub/", "m/sub/x.txt", "m/.tmp-1", "m/config.json"):
        s3_client().put_object(Bucket=BUCKET, Key=f"tests/{key}", Body=b"")
    assert open_store(f"{moto}/m").keys("") == ["config.json", "sub/x.txt"]
    folder = local_folder(f"{moto}/m/")
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["config.json", "x.txt"]


def test_objects_of_others_are_read_where_they_may_be(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``aws s3 cp`` records no digest: good for prompts and models, not for what the pipeline wrote itself."""
    monkeypatch.setenv("THINKSAFE_CACHE", str(tmp_path / "cache"))
    s3_client().put_object(Bucket=BUCKET, Key="tests/by-hand/x", Body=b"by hand")
    own = open_store(f"{moto}/by-hand")
    with pytest.raises(DamagedError, match="has no digest"):
        own.get("x")
    with pytest.raises(DamagedError, match="has no digest"):
        own.get_file("x", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert open_store(f"{moto}/by-hand", foreign=True).get("x") == b"by hand"
    with local_file(f"{moto}/by-hand/x") as path:
        assert path.read_bytes() == b"by hand"
    assert (local_folder(f"{moto}/by-hand") / "x").read_bytes() == b"by hand"


def test_a_folder_that_changes_while_it_is_copied_is_not_cached(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINKSAFE_CACHE", str(tmp_path / "cache"))
    store = S3Store(f"{moto}/moving")
    store.put("a", b"old")
    store.put("b", b"old")
    get_file = S3Store.get_file

    def meanwhile(self: S3Store, key: str, path: Path) -> None:
        get_file(self, key, path)
        if key == "a":
            store.put("b", b"new")

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "get_file", meanwhile)
        with pytest.raises(StoreError, match="changed while it was copied"):
            local_folder(f"{moto}/moving")
    assert not list((tmp_path / "cache" / "s3").iterdir())
    assert (local_folder(f"{moto}/moving") / "b").read_bytes() == b"new"


def test_addresses_without_an_object_are_wrong_input(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("s3://prompts.jsonl", "s3://", f"{moto}/folder/"):
        with pytest.raises(InputError, match="does not name an object"), local_file(address):
            pass
    with pytest.raises(InputError, match="nothing below"):
        local_folder(f"{moto}/nothing")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THINKSAFE_CACHE", str(tmp_path / "file"))
    open_store(moto).put("model/x", b"")
    with pytest.raises(StoreError, match="THINKSAFE_CACHE"):
        local_folder(f"{moto}/model")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_a_server_that_is_not_there_fails_clearly(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name, value in S3Server(endpoint, "k", "s").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("THINKSAFE_S3_RETRY_SECONDS", "1")
    store = open_store("s3://thinksafe/x")
    for verb, more in (("put", [b""]), ("get", []), ("exists", []), ("keys", [])):
        with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
            getattr(store, verb)("a", *more)
