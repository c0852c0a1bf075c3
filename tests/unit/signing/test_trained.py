"""A folder with a model's files and their signature, checked without a store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from registry_runs import Run
from signed_worlds import SignedWorld

from thinksafe.errors import SignatureError
from thinksafe.registry.registration import trained_of
from thinksafe.signing.trained import verify_folder


@pytest.fixture
def world(tmp_path: Path) -> SignedWorld:
    return SignedWorld(tmp_path)


def downloaded(world: SignedWorld, run: Run, folder: Path) -> Path:
    """Return a folder with the files of a run and their signature, as somebody keeps them."""
    folder.mkdir()
    trained = trained_of(run.candidate)
    for key in world.store.keys(f"{trained.place}/"):
        (folder / key.rpartition("/")[2]).write_bytes(world.store.get(key))
    (folder / "model.sig").write_bytes(world.store.get(world.bundle(run)))
    return folder


def test_a_folder_verifies_by_itself(world: SignedWorld, tmp_path: Path) -> None:
    folder = downloaded(world, world.signed("a"), tmp_path / "folder")

    def check(signed_as: str = "") -> tuple[str, str]:
        return verify_folder(folder, folder / "model.sig", signed_as, world.seal.trust)

    assert check() == check("m@1") == ("2026", "m@1")
    with pytest.raises(SignatureError, match="not of 'm@2'"):
        check("m@2")
    for name in (".git", ".gitignore", "README.md"):
        (folder / name).write_text("x")
        with pytest.raises(SignatureError, match=f"'{name}' was added"):
            check()
        (folder / name).unlink()
    (folder / "sub").mkdir()
    (folder / "sub/model.sig").write_text("x")
    with pytest.raises(SignatureError, match=r"'sub/model\.sig' was added"):
        check()
    shutil.rmtree(folder / "sub")
    flip_at = folder / "adapter_config.json"
    flip_at.write_bytes(flip_at.read_bytes() + b" ")
    with pytest.raises(SignatureError, match=r"adapter_config\.json differs"):
        check()


@pytest.mark.parametrize("where", ["file", "folder", "broken", "root"])
def test_a_link_in_a_folder_is_refused(world: SignedWorld, tmp_path: Path, where: str) -> None:
    folder = downloaded(world, world.signed("a"), tmp_path / "folder")
    if where == "file":  # the same content, today
        (folder / "adapter_config.json").rename(tmp_path / "config.json")
        (folder / "adapter_config.json").symlink_to(tmp_path / "config.json")
    elif where == "folder":
        (folder / "more").symlink_to(tmp_path)
    elif where == "broken":
        (folder / "more").symlink_to(tmp_path / "none")
    else:
        (tmp_path / "link").symlink_to(folder)
        folder = tmp_path / "link"
    with pytest.raises(SignatureError, match="is a link or a special file"):
        verify_folder(folder, folder / "model.sig", "", world.seal.trust)


def test_a_folder_without_signature_is_refused(world: SignedWorld, tmp_path: Path) -> None:
    folder = downloaded(world, world.signed("a"), tmp_path / "folder")
    signature = json.loads((folder / "model.sig").read_text())
    (folder / "model.sig").unlink()
    with pytest.raises(SignatureError, match="has no signature"):
        verify_folder(folder, folder / "model.sig", "", world.seal.trust)
    (tmp_path / "elsewhere.sig").write_text(json.dumps(signature))
    assert verify_folder(folder, tmp_path / "elsewhere.sig", "", world.seal.trust) == ("2026", "m@1")
