"""What was trained, fetched from the store: whole, and as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from thinksafe.digests import digest_folder
from thinksafe.errors import MissingError, StoreError
from thinksafe.models.references import Trained
from thinksafe.models.trained import ADAPTER_FILES, fetch_trained, verify_trained, weights_folder
from thinksafe.settings import Parameters
from thinksafe.store.local import LocalStore

FILES: dict[Parameters, tuple[str, ...]] = {
    "lora": ADAPTER_FILES, "full": ("config.json", "model.safetensors", "additional_chat_templates/tool.jinja"),
}


def stored(store: LocalStore, tmp_path: Path, parameters: Parameters) -> Trained:
    folder = tmp_path / "made"
    for name in FILES[parameters]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
        store.put_file(f"place/key/{name}", folder / name)
    return Trained(parameters, "place/key", digest_folder(folder))


@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_what_was_trained_is_fetched_whole(tmp_path: Path, parameters: Parameters) -> None:
    store = LocalStore(tmp_path / "store")
    trained = stored(store, tmp_path, parameters)
    folder = fetch_trained(store, trained, tmp_path / "new" / "folder")
    assert digest_folder(folder) == trained.digest
    verify_trained(store, trained)
    assert digest_folder(weights_folder(store, trained)) == trained.digest


@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_a_changed_missing_or_additional_file_is_refused(tmp_path: Path, parameters: Parameters) -> None:
    store = LocalStore(tmp_path / "store")
    trained = stored(store, tmp_path, parameters)

    def refused() -> None:
        for number, read in enumerate((lambda: verify_trained(store, trained), lambda: weights_folder(store, trained))):
            with pytest.raises(StoreError, match="digest differs"):
                read()
            with pytest.raises(StoreError, match="digest differs"):
                fetch_trained(store, trained, tmp_path / f"fetched-{number}")

    for name in FILES[parameters]:
        key = f"place/key/{name}"
        before = store.get(key)
        store.put(key, b"something else")
        refused()
        store.delete(key)
        refused()
        store.put(key, before)
    store.put("place/key/modeling_own.py", b"print()")
    refused()
    for key in store.keys("place/"):
        store.delete(key)
    with pytest.raises(MissingError, match="nothing"):
        fetch_trained(store, trained, tmp_path / "none")
