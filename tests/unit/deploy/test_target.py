"""What is fetched by its address: from the store's root, as what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from registry_runs import Run, World, add_adapter, add_weights
from signed_worlds import Key

from thinksafe.deploy import target
from thinksafe.deploy.target import _signed, fetch
from thinksafe.errors import ConfigError, DamagedError, SignatureError
from thinksafe.models.references import Trained
from thinksafe.registry.registration import trained_of
from thinksafe.signing.trained import sign_trained
from thinksafe.store import Store
from thinksafe.store.local import LocalStore


@pytest.mark.parametrize("add", [add_adapter, add_weights])
def test_an_address_is_a_place_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add: object
) -> None:
    store = LocalStore(tmp_path / "weights" / "of-the-team" / "store")  # a root with the name of a folder of stores
    trained = trained_of(add(store, "one"))  # type: ignore[operator]
    released: list[tuple[str, Trained]] = []
    real = target.release

    def release(found: Store, what: Trained, folder: Path, *signed: Any) -> None:
        released.append((found.root, what))
        real(found, what, folder, *signed)

    monkeypatch.setattr(target, "release", release)
    fetch(store.uri(trained.place), trained.digest, tmp_path / "out")
    assert released == [(store.root, trained)]
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize(
    "address", ["s3://", "s3://bucket", "s3://bucket/adapters", "adapters/key", "/adapters/key", "s3://b/other/key/digest"]
)
def test_other_addresses_are_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="is not the address"):
        fetch(address, "0" * 64, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def options(store: Store, key: Key) -> tuple[str, str]:
    """Return what the init container is told."""
    entry = Run(World(Path(store.root).parent, root=store.root), "one").entry(1, "3")
    made = _signed(entry, key.settings())
    return made["signed_as"], made["sign"]


@pytest.mark.parametrize("add", [add_adapter, add_weights])
def test_what_is_signed_is_fetched_and_nothing_else_stays(tmp_path: Path, add: Any) -> None:
    store, key, out = LocalStore(tmp_path / "store"), Key(tmp_path, "2026"), tmp_path / "out"
    trained = trained_of(add(store, "one"))
    signed_as, sign = options(store, key)
    assert signed_as == "m@3"
    assert str(key.path) not in sign
    assert key.public.splitlines()[1] in sign

    def fetched(version: str = signed_as, whose: str = sign) -> None:
        fetch(store.uri(trained.place), trained.digest, out, version, whose)

    with pytest.raises(SignatureError, match="is not signed as 'm@3'"):
        fetched()
    assert not out.exists()
    sign_trained(store, trained, "m@3", key.settings())
    fetched()
    assert out.is_dir()
    with pytest.raises(SignatureError, match="is not signed as 'm@4'"):
        fetched("m@4")
    with pytest.raises(SignatureError, match="by the unknown key"):
        fetched(whose=options(store, Key(tmp_path, "other"))[1])
    for extra in ("model.sig", ".gitattributes", "sub/evil.py"):
        store.put(f"{trained.place}/{extra}", b"x")
        with pytest.raises(SignatureError, match=f"'{extra}' was added"):
            fetched()
        assert not out.exists()
        store.delete(f"{trained.place}/{extra}")
    name = next(iter(store.keys(f"{trained.place}/")))
    store.put(name, store.get(name) + b" ")
    with pytest.raises(SignatureError, match=f"{name.rpartition('/')[2]} differs"):
        fetched()
    assert not out.exists()
    for said in (("m@3", ""), ("", sign), ("m@3", "{}")):
        with pytest.raises(ConfigError):
            fetched(*said)


def test_the_right_signature_of_other_files_is_not_enough(tmp_path: Path) -> None:
    """The digest comes from the ledger: files that were signed as this version must still be the ones that it names."""
    store, key = LocalStore(tmp_path / "store"), Key(tmp_path, "2026")
    trained = trained_of(add_adapter(store, "one"))
    sign_trained(store, trained, "m@3", key.settings())
    _, sign = options(store, key)
    with pytest.raises(DamagedError, match="digest differs"):
        fetch(store.uri(trained.place), "0" * 64, tmp_path / "out", "m@3", sign)
    assert not (tmp_path / "out").exists()
