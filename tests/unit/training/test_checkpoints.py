from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from thinksafe.digests import digest_file
from thinksafe.errors import StoreError
from thinksafe.store.local import LocalStore
from thinksafe.training.checkpoints import Checkpoints

pytestmark = pytest.mark.slow  # the import of torch and transformers

FILES = (
    "adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth",
    "trainer_state.json",
)


def saved(folder: Path, step: int) -> Path:
    """Write what transformers saves at a step, in so far as it matters here."""
    import torch

    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    for name in FILES:
        if name.endswith((".pt", ".pth")):
            torch.save({"step": step, "state": torch.full((3,), float(step))}, made / name)
        else:
            (made / name).write_text(json.dumps({"step": step}))
    (made / "training_args.bin").write_bytes(pickle.dumps({"never": "uploaded"}))
    (made / "README.md").write_text("nor this")
    return made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def checkpoints(store: LocalStore, folder: Path, key: str = "key") -> Checkpoints:
    return Checkpoints(store, key, folder)


def write(store: LocalStore, folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoints(store, folder).write(saved(folder, step), step)


def test_the_newest_of_two_kept_checkpoints_comes_back_as_it_was(store: LocalStore, tmp_path: Path) -> None:
    write(store, tmp_path / "a", 2, 4, 6)
    assert {key.split("/")[2] for key in store.keys("checkpoints/key/")} == {"00000004", "00000006"}
    assert not [key for key in store.keys("") if "training_args" in key or "README" in key]

    found = checkpoints(store, tmp_path / "b")
    assert found.restored is None
    assert found.restore() == found.step == 6
    assert found.restored is not None
    assert sorted(path.name for path in found.restored.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (found.restored / name).read_bytes() == (tmp_path / "a" / "checkpoint-6" / name).read_bytes()


def test_only_the_same_adapters_checkpoints_are_found_and_all_of_them_cleared(
    store: LocalStore, tmp_path: Path
) -> None:
    write(store, tmp_path / "a", 2, 4)
    store.put("checkpoints/key2/00000002/manifest.json", b"of another adapter")
    assert checkpoints(store, tmp_path / "b", "other").restore() == 0
    checkpoints(store, tmp_path / "a").clear()
    assert store.keys("checkpoints/") == ["checkpoints/key2/00000002/manifest.json"]


def _cut(store: LocalStore, prefix: str) -> None:
    store.put(f"{prefix}/optimizer.pt", store.get(f"{prefix}/optimizer.pt")[:-5])


def _no_manifest(store: LocalStore, prefix: str) -> None:
    store.delete(f"{prefix}/manifest.json")


def _bad_manifest(store: LocalStore, prefix: str) -> None:
    store.put(f"{prefix}/manifest.json", b"{")


def _file_lost(store: LocalStore, prefix: str) -> None:
    store.delete(f"{prefix}/trainer_state.json")


def _manifest(store: LocalStore, prefix: str, **changes: Any) -> None:
    manifest = json.loads(store.get(f"{prefix}/manifest.json"))
    manifest |= changes
    store.put(f"{prefix}/manifest.json", json.dumps(manifest).encode())


def _of_another_step(store: LocalStore, prefix: str) -> None:
    _manifest(store, prefix, step=9)


def _names_leading_elsewhere(store: LocalStore, prefix: str) -> None:
    files = json.loads(store.get(f"{prefix}/manifest.json"))["files"]
    _manifest(store, prefix, files=files | {"../../adapter_model.bin": "0" * 64})


@pytest.mark.parametrize(
    "damage", [_cut, _no_manifest, _bad_manifest, _file_lost, _of_another_step, _names_leading_elsewhere]
)
def test_a_damaged_or_half_written_checkpoint_gives_way_to_the_one_before(
    store: LocalStore, tmp_path: Path, damage: Any
) -> None:
    write(store, tmp_path / "a", 2, 4)
    damage(store, "checkpoints/key/00000004")
    found = checkpoints(store, tmp_path / "b")
    with pytest.warns(UserWarning, match="00000004 is incomplete or damaged and is not used"):
        assert found.restore() == 2
    damage(store, "checkpoints/key/00000002")
    with pytest.warns(UserWarning, match="not used"):
        assert checkpoints(store, tmp_path / "c").restore() == 0


class Payload:
    """A pickle that runs code when it is opened carelessly."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_in_it_is_not_run_though_its_digest_is_right(
    store: LocalStore, tmp_path: Path, name: str, zipped: bool
) -> None:
    import torch

    write(store, tmp_path / "a", 2)
    mark, planted = tmp_path / "ran", tmp_path / "planted"
    if zipped:
        torch.save({"state": Payload(mark)}, planted)
    else:
        planted.write_bytes(pickle.dumps(Payload(mark)))
    prefix = "checkpoints/key/00000002"
    store.put_file(f"{prefix}/{name}", planted)
    files = json.loads(store.get(f"{prefix}/manifest.json"))["files"]
    _manifest(store, prefix, files=files | {name: digest_file(planted)})
    with pytest.warns(UserWarning, match=f"{name} holds more than tensors"):
        assert checkpoints(store, tmp_path / "b").restore() == 0
    assert not mark.exists()
    torch.load(planted, weights_only=False) if zipped else pickle.loads(planted.read_bytes())
    assert mark.exists()  # so the test would notice


def test_a_store_that_fails_costs_the_checkpoint_and_not_the_training(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, tmp_path / "a", 2)
    kept = store.keys("")

    def full(self: LocalStore, key: str, path: Path) -> None:
        raise StoreError("The disk is full.", "Free space.")

    monkeypatch.setattr(LocalStore, "put_file", full)
    with pytest.warns(UserWarning, match="checkpoint of step 4 is not written. The disk is full"):
        write(store, tmp_path / "a", 4)
    assert store.keys("") == kept


def test_a_store_that_cannot_be_read_is_not_taken_for_one_without_checkpoints(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, tmp_path / "a", 2)

    def down(self: LocalStore, key: str) -> bytes:
        raise StoreError("The server is down.", "Wait.")

    monkeypatch.setattr(LocalStore, "get", down)
    with pytest.raises(StoreError, match="down"):
        checkpoints(store, tmp_path / "b").restore()


def test_a_step_that_is_written_again_replaces_what_was_there(store: LocalStore, tmp_path: Path) -> None:
    write(store, tmp_path / "a", 2)
    store.put("checkpoints/key/00000002/rng_state_7.pth", b"of an attempt with more processes")
    write(store, tmp_path / "b", 2)
    assert len(store.keys("checkpoints/key/")) == len(FILES) + 1
    assert checkpoints(store, tmp_path / "c").restore() == 2
