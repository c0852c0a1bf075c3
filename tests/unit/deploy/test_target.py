"""What is fetched by its address: from the store's root, as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry_runs import add_adapter, add_weights

from thinksafe.deploy import target
from thinksafe.deploy.target import fetch
from thinksafe.errors import ConfigError
from thinksafe.models.references import Trained
from thinksafe.registry.registration import trained_of
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

    def release(found: Store, what: Trained, folder: Path) -> None:
        released.append((found.root, what))
        real(found, what, folder)

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
