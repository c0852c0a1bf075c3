"""verify and sign, as people type them, and rollback where signatures are demanded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from signed_worlds import Key, SignedWorld

from thinksafe.registry.registration import trained_of
from thinksafe.run.record import StageRecord, write_stage_record


@pytest.fixture
def world(tmp_path: Path) -> SignedWorld:
    return SignedWorld(tmp_path / "world")


@pytest.fixture
def public(world: SignedWorld) -> Path:
    path = world.folder / "public.pem"
    path.write_text(world.key.public)
    return path


def config(world: SignedWorld, *trusted: dict[str, Any], name: str = "config.yaml") -> Path:
    path = world.folder / name
    path.write_text(yaml.safe_dump({"extends": "micro", "sign": {"trusted": list(trusted or [world.key.trusted()])}}))
    return path


def test_a_signed_model_is_said_to_be_one(world: SignedWorld, public: Path, cli: Callable[..., Any]) -> None:
    world.signed("a")
    world.signed("b")
    for trusted in (("--key", public), ("--config", config(world))):
        ended = cli("verify", "m", *trusted, "--artifacts", world.store.root)
        assert ended.code == 0, ended.err
        name = "key-1" if trusted[0] == "--key" else "2026"
        assert ended.out.splitlines() == [
            "ledger: 2 generations are signed, or follow from what is", f"files: m@2 (generation 2), signed by {name}",
        ]


def test_a_difference_exits_with_three_and_names_the_file(
    world: SignedWorld, public: Path, cli: Callable[..., Any]
) -> None:
    world.signed("a")
    world.store.put("adapters/a/adapter_config.json", b"{}")
    ended = cli("verify", "m", "--key", public, "--artifacts", world.store.root)
    assert ended.code == 3
    assert "refused: " in ended.err
    assert "adapter_config.json differs" in ended.err
    assert ended.out == ""


def test_changed_records_are_a_difference(world: SignedWorld, public: Path, cli: Callable[..., Any]) -> None:
    from thinksafe.registry import ledger
    from thinksafe.registry.signed import evidence_of

    record = StageRecord(
        run_id="a", stage="gate", task="gate", status="succeeded", verdict="passed", started=1.0, seconds=1.0
    )
    write_stage_record(world.store, record)
    run = world.registered_by_hand("a")
    entry = run.entry(1, "1")
    digests = entry.digests.model_copy(update={"evidence": evidence_of(world.store, "a")})
    ledger.append(world.store, entry.model_copy(update={"digests": digests}))
    world.seal.sign(1)
    asked = ("verify", "m", "--key", public, "--artifacts", world.store.root)
    assert "records: 1 of the run a are as they were promoted" in cli(*asked).out
    write_stage_record(world.store, record.model_copy(update={"verdict": "refused"}))
    ended = cli(*asked)
    assert ended.code == 3
    assert "Records of the run a are not those that the ledger names: gate" in ended.err


def test_a_folder_is_verified_by_its_signature(
    world: SignedWorld, public: Path, cli: Callable[..., Any], tmp_path: Path
) -> None:
    run = world.signed("a")
    folder = tmp_path / "folder"
    shutil.copytree(Path(world.store.root) / trained_of(run.candidate).place, folder)
    assert cli("verify", folder, "--key", public).code == 3, "no signature"
    signature = Path(world.store.root) / world.bundle(run)
    ended = cli("verify", folder, "--key", public, "--signature", signature, "--as", "m@1")
    assert (ended.code, ended.out) == (0, f"{folder} is m@1, signed by key-1\n")
    assert cli("verify", folder, "--key", public, "--signature", signature, "--as", "m@2").code == 3
    shutil.copy(signature, folder / "model.sig")
    assert cli("verify", folder, "--key", public).code == 0
    (folder / "README.md").write_text("x")
    ended = cli("verify", folder, "--key", public)
    assert ended.code == 3
    assert "'README.md' was added" in ended.err


def test_wrong_input_exits_with_two(
    world: SignedWorld, public: Path, cli: Callable[..., Any], tmp_path: Path
) -> None:
    store = ("--artifacts", world.store.root)
    assert cli("verify", "m", *store).code == 2, "no key"
    assert cli("verify", "m", "--key", public, "--config", "micro", *store).code == 2
    assert "has no section sign" in cli("verify", "m", "--config", "micro", *store).err
    assert "has no ledger of 'm'" in cli("verify", "m", "--key", public, *store).err
    assert cli("verify", "m", "--key", tmp_path / "none.pem", *store).code == 2
    ended = cli("verify", "m", "--key", world.key.path, *store)  # the private one
    assert ended.code == 2
    assert world.key.pem.decode().splitlines()[1][:12] not in ended.err + ended.out


def test_a_new_key_signs_again_what_the_old_one_signed(
    world: SignedWorld, cli: Callable[..., Any], tmp_path: Path
) -> None:
    world.signed("a")
    world.signed("b")
    old, new = world.key, Key(tmp_path, "2027")
    store = ("--artifacts", world.store.root)
    both, alone = config(world, old.trusted(), new.trusted()), config(world, new.trusted(), name="new.yaml")
    assert cli("verify", "m", "--config", alone, *store).code == 3
    ended = cli("sign", "m", "--config", both, "--private-key", new.path, *store)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        "adapters/a is signed as m@1", "adapters/b is signed as m@2", "the ledger of m is signed up to generation 2",
    ]
    assert cli("verify", "m", "--config", alone, *store).code == 0


def test_what_was_tampered_with_is_not_signed_again_unless_asked(
    world: SignedWorld, cli: Callable[..., Any]
) -> None:
    world.signed("a")
    key = "promotions/m/000001.json"
    world.store.put(key, world.store.get(key).replace(b'"ann"', b'"bob"'))
    asked = ("sign", "m", "--config", config(world), "--private-key", world.key.path, "--artifacts", world.store.root)
    ended = cli(*asked)
    assert ended.code == 1
    assert "000001.json differs" in ended.err
    assert cli(*asked, "--anew").code == 0
    assert cli("verify", "m", "--config", config(world), "--artifacts", world.store.root).code == 0


def test_rollback_asks_whose_signatures_count(world: SignedWorld, cli: Callable[..., Any]) -> None:
    world.signed("a")
    world.signed("b")
    asked = ("rollback", "m", "--artifacts", world.store.root, "--tracking-uri", world.settings.tracking_uri)
    ended = cli(*asked)
    assert ended.code == 2
    assert "is signed, and it is not known whose signatures count" in ended.err
    ended = cli(*asked, "--config", config(world, Key(world.folder, "other").trusted()))
    assert ended.code == 1
    assert "by the unknown key" in ended.err
    assert len(world.history) == 2
