"""The signed ledger and signed adapters: what is refused, against a real MLflow on a SQLite file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry_runs import Run
from signed_worlds import Key, SignedWorld

from thinksafe.digests import digest_bytes
from thinksafe.errors import ConfigError, SignatureError
from thinksafe.jsonl import read_record
from thinksafe.registry import ledger
from thinksafe.registry.ledger import LedgerEntry, entry_key
from thinksafe.registry.registration import Registration, trained_of
from thinksafe.registry.signed import Seal, changed_evidence, signature_key
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.signing.trained import sign_trained
from thinksafe.store import Store


@pytest.fixture
def world(tmp_path: Path) -> SignedWorld:
    """Without MLflow, which only the stages need."""
    return SignedWorld(tmp_path)


@pytest.fixture
def staged(mlflow_tables: Path, world: SignedWorld) -> SignedWorld:
    shutil.copy(mlflow_tables, world.folder / "mlflow.db")
    return world


def refused(world: SignedWorld, said: str, generation: int | None = None) -> None:
    """Nobody may serve, roll back to, or promote on top of what was tampered with."""
    with pytest.raises(SignatureError, match=said):
        world.seal.require_servable(generation)


def flip(store: Store, key: str, place: int = 5) -> None:
    data = bytearray(store.get(key))
    data[place] ^= 1
    store.put(key, bytes(data))


def test_what_is_registered_and_promoted_is_signed(staged: SignedWorld) -> None:
    run = staged.promoted("a")
    bundle = staged.store.get(staged.bundle(run))
    assert staged.bundle(run) == "adapters/a.signatures/m@1.json"
    assert read_record(run.folder / "registration.json", Registration).signature == digest_bytes(bundle)
    assert staged.store.exists(signature_key("m", 1))
    assert staged.seal.require_servable() == ledger.newest(staged.store, "m")
    assert staged.seal.signed_by(1) == "2026"
    second = staged.promoted("b", full=True)
    assert staged.bundle(second) == "weights/b/made.signatures/m@2.json"
    assert staged.seal.require_servable().generation == 2
    assert staged.seal.require_servable(1).run_id == "a"


def test_nothing_secret_is_written(staged: SignedWorld) -> None:
    staged.promoted("a")
    secret = staged.key.pem.splitlines()[1]
    for path in staged.folder.rglob("*"):
        if path.is_file() and path != staged.key.path:
            assert secret not in path.read_bytes(), path


def test_repeated_stages_keep_their_signatures(staged: SignedWorld) -> None:
    run = staged.promoted("a")
    before = {key: staged.store.get(key) for key in (staged.bundle(run), signature_key("m", 1))}
    registration = read_record(run.folder / "registration.json", Registration)
    run.register()
    run.promote()
    assert {key: staged.store.get(key) for key in before} == before
    assert read_record(run.folder / "registration.json", Registration) == registration


def test_a_promotion_that_was_killed_before_its_signature_is_completed(
    staged: SignedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged.promoted("a")
    run = staged.registered("b")

    class Killed(BaseException):
        pass

    def killed(seal: Seal, generation: int) -> None:
        raise Killed

    monkeypatch.setattr(Seal, "ensure_signed", killed)
    with pytest.raises(Killed):
        run.promote()
    monkeypatch.undo()
    refused(staged, r"000002\.json is not signed: the promotion of run b")
    other = staged.registered("c")
    with pytest.raises(SignatureError, match=r"000002\.json is not signed"):
        other.promote()
    run.promote()
    assert staged.seal.require_servable().run_id == "b"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_changed_byte_in_a_file_names_it(world: SignedWorld, name: str) -> None:
    for run in ("a", "b"):
        world.signed(run)
    flip(world.store, f"adapters/a/{name}", 0)
    refused(world, f"{name} differs", 1)
    assert world.seal.require_servable().run_id == "b", "what is served is another adapter"


def test_a_changed_file_is_not_registered_as_what_was_trained(staged: SignedWorld) -> None:
    run = staged.registered("a")
    flip(staged.store, "adapters/a/adapter_model.safetensors", 0)
    with pytest.raises(SignatureError, match=r"adapter_model\.safetensors differs"):
        run.promote()
    assert staged.history == []


def test_an_added_file_and_a_missing_one_are_named(world: SignedWorld) -> None:
    run = world.signed("a")
    world.store.put("adapters/a/.gitattributes", b"")
    refused(world, r"'\.gitattributes' was added")
    world.store.delete("adapters/a/.gitattributes")
    world.store.delete("adapters/a/adapter_config.json")
    refused(world, r"adapter_config\.json is missing")
    world.store.put("adapters/a/adapter_config.json", b"")
    world.store.delete(world.bundle(run))
    refused(world, "is not signed as 'm@1'")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_in_any_signed_file_is_refused(world: SignedWorld, data: st.DataObject) -> None:
    if not world.history:
        world.signed("a")
        world.signed("b")
    keys = [
        "adapters/b/adapter_config.json", "adapters/b/adapter_model.safetensors", entry_key("m", 1), entry_key("m", 2),
    ]
    key = data.draw(st.sampled_from(keys))
    before = world.store.get(key)
    place, bit = data.draw(st.integers(0, len(before) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(before)
    changed[place] ^= 1 << bit
    world.store.put(key, bytes(changed))
    try:
        # a ledger entry may not even be one any more
        with pytest.raises(Exception, match=f"(?s){key.rpartition('/')[2]}") as caught:
            world.seal.require_servable()
        assert type(caught.value).__name__ in ("SignatureError", "StoreError")
    finally:
        world.store.put(key, before)
    assert world.seal.require_servable().generation == 2


def test_the_adapter_of_another_model_with_its_own_valid_signature_is_refused(world: SignedWorld) -> None:
    run = world.signed("a")
    other = SignedWorld(world.folder, model="other", key=world.key)
    theirs = other.signed("theirs", "harmful")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        world.store.put(f"adapters/a/{name}", world.store.get(f"adapters/harmful/{name}"))
    refused(world, r"adapter_model\.safetensors differs")
    world.store.put(world.bundle(run), world.store.get(other.bundle(theirs)))
    refused(world, "is of 'other@1', not of 'm@1'")
    assert other.seal.require_servable().run_id == "theirs"


def test_another_version_of_the_model_in_its_place_is_refused(world: SignedWorld) -> None:
    old, new = world.signed("a"), world.signed("b")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        world.store.put(f"adapters/b/{name}", world.store.get(f"adapters/a/{name}"))
    world.store.put(world.bundle(new), world.store.get(world.bundle(old)))
    refused(world, "is of 'm@1', not of 'm@2'")


def rewritten(entry: LedgerEntry, **changed: Any) -> bytes:
    return entry.model_copy(update=changed).model_dump_json(indent=2).encode() + b"\n"


def test_an_old_champion_replayed_as_new_is_refused(world: SignedWorld) -> None:
    for name in ("a", "b"):
        world.signed(name)
    first = ledger.entries(world.store, "m")[0]
    world.store.put(entry_key("m", 3), rewritten(first, generation=3, previous=2))
    refused(world, r"000003\.json is not signed: the promotion of run a")
    world.store.put(signature_key("m", 3), world.store.get(signature_key("m", 1)))
    refused(world, r"000002\.json' was added, '000003\.json' was added")
    world.store.put(signature_key("m", 3), world.store.get(signature_key("m", 2)))
    refused(world, r"000003\.json' was added")
    with pytest.raises(SignatureError):  # nobody promotes on top of it
        world.seal.require_history()


def test_an_old_champion_in_the_place_of_the_new_one_is_refused(world: SignedWorld) -> None:
    for name in ("a", "b"):
        world.signed(name)
    first = ledger.entries(world.store, "m")[0]
    world.store.put(entry_key("m", 2), rewritten(first, generation=2, previous=1))
    refused(world, r"000002\.json differs")


def test_a_ledger_that_lost_its_newest_entries_is_refused(world: SignedWorld) -> None:
    for name in ("a", "b"):
        world.signed(name)
    world.store.delete(entry_key("m", 2))
    refused(world, "Generation 2 of 'm' was signed, and the ledger ends at 1")


def test_a_return_that_does_not_follow_needs_a_signature(world: SignedWorld) -> None:
    for name in ("a", "b", "c"):
        world.signed(name)
    first, second, third = ledger.entries(world.store, "m")
    # further back than the generation before
    forged = rewritten(first, generation=4, previous=3, action="rollback")
    world.store.put(entry_key("m", 4), forged)
    refused(world, r"000004\.json is not signed: a rollback to run a")
    # to another's files, under the name of the generation before
    world.store.put(entry_key("m", 4), rewritten(second, generation=4, previous=3, action="rollback", version="1"))
    refused(world, r"000004\.json is not signed")
    # what the stage deploy writes
    world.store.put(entry_key("m", 4), rewritten(second, generation=4, previous=3, action="rollback", reason="failed"))
    assert world.seal.require_servable().run_id == "b"
    # and no second one on top of it
    world.store.put(entry_key("m", 5), rewritten(first, generation=5, previous=4, action="rollback"))
    refused(world, r"000005\.json is not signed")
    assert third.generation == 3


def test_a_rollback_by_hand_is_signed_or_follows(staged: SignedWorld) -> None:
    for name in ("a", "b", "c"):
        staged.promoted(name)
    flip(staged.store, "adapters/b/adapter_config.json", 0)
    with pytest.raises(SignatureError, match=r"adapter_config\.json differs"):
        staged.back()
    flip(staged.store, "adapters/b/adapter_config.json", 0)
    with pytest.raises(ConfigError, match="has to be signed") as caught:
        staged.back(to=1)
    assert "--private-key" in caught.value.action
    assert staged.back().run_id == "b"
    assert not staged.store.exists(signature_key("m", 4))
    with pytest.raises(ConfigError, match="has to be signed"):
        staged.back()
    assert staged.back(signs=True).run_id == "a"
    assert staged.seal.signed_by(5) == "2026"
    assert staged.seal.require_servable().generation == 5
    # the next run signs on top
    assert staged.promoted("d").promote().verdict == "promoted"
    assert staged.seal.require_servable().run_id == "d"


def test_a_withdrawal_needs_no_signature_and_a_promotion_follows_it(world: SignedWorld) -> None:
    world.signed("a")
    (first,) = ledger.entries(world.store, "m")
    gone = first.model_copy(update={"generation": 2, "previous": 1, "action": "withdraw", "reason": "harmful"})
    ledger.append(world.store, gone)
    assert [entry.action for entry in world.seal.entries()] == ["promote", "withdraw"]
    world.signed("b")
    assert world.seal.require_servable().run_id == "b"


def test_a_private_key_that_nobody_trusts_promotes_nothing(staged: SignedWorld, tmp_path: Path) -> None:
    run = staged.registered("a")
    stranger = Key(tmp_path, "stranger")
    known = staged.sign
    staged.sign = known.model_copy(update={"private_key": str(stranger.path)})
    with pytest.raises(SignatureError, match=r"a trial of the private key is by the unknown key"):
        run.promote()
    second = Run(staged, "b")
    with pytest.raises(SignatureError, match="by the unknown key"):
        second.register()
    staged.sign = known.model_copy(update={"private_key": str(tmp_path / "none.pem")})
    with pytest.raises(ConfigError, match="There is no file"):
        run.promote()
    assert (staged.history, staged.alias) == ([], "")
    assert not staged.store.keys("signatures/")


def test_a_signature_by_a_stranger_is_refused(world: SignedWorld, tmp_path: Path) -> None:
    run = world.signed("a")
    stranger = Key(tmp_path, "stranger").settings()
    Seal(world.store, "m", stranger).sign(1)
    refused(world, "by the unknown key")
    with pytest.raises(SignatureError, match="by the unknown key"):
        world.seal.require_history()
    world.seal.sign(1)
    world.store.put(world.bundle(run), world.store.get(world.bundle(run))[:-9])
    refused(world, "is damaged")


def test_keys_are_changed_without_a_gap(world: SignedWorld, tmp_path: Path) -> None:
    run = world.signed("a")
    old, new = world.key, Key(tmp_path, "2027")
    both = {"trusted": (old.trusted(), new.trusted())}
    world.sign = new.settings(*both["trusted"])
    world.signed("b")
    assert world.seal.signed_by(2) == "2027"
    assert world.seal.require_servable(1).run_id == "a"
    # the old key ends: what it signed is refused until it is signed again
    world.sign = new.settings(old.trusted(not_after="2020-01-01"), new.trusted())
    assert world.seal.require_servable().run_id == "b"
    refused(world, "by 2026, who is trusted until 2020-01-01", 1)
    sign_trained(world.store, trained_of(run.candidate), "m@1", world.sign)
    assert world.seal.require_servable(1).run_id == "a"


def test_a_ledger_from_before_signing_is_signed_with_the_next_promotion(world: SignedWorld) -> None:
    plain = Run(world, "a")
    ledger.append(world.store, plain.entry(1, "1"))
    refused(world, "There is no signature of the ledger of 'm'")
    world.signed("b")
    assert world.seal.require_servable().run_id == "b"
    refused(world, "adapters/a is not signed as 'm@1'", 1)


def test_the_entry_names_the_records_of_its_run(staged: SignedWorld) -> None:
    run = staged.registered("a")
    record = StageRecord(
        run_id="a", stage="gate", task="gate", status="succeeded", verdict="passed", started=1.0, seconds=1.0,
        outputs={"decision": "d"},
    )
    write_stage_record(staged.store, record)
    run.promote()
    entry = staged.seal.require_servable()
    assert set(entry.digests.evidence) == {"register", "gate"}
    assert changed_evidence(staged.store, entry) == []
    write_stage_record(staged.store, record.model_copy(update={"started": 9.0}))
    assert changed_evidence(staged.store, entry) == [], "the same work, done again"
    write_stage_record(staged.store, record.model_copy(update={"outputs": {"decision": "e"}}))
    staged.store.delete("runs/a/register.json")
    assert changed_evidence(staged.store, entry) == ["gate", "register"]


def test_without_the_section_nothing_changes_and_nothing_is_imported(tmp_path: Path, mlflow_tables: Path) -> None:
    shutil.copy(mlflow_tables, tmp_path / "mlflow.db")
    script = (
        "import sys\nfrom pathlib import Path\nfrom registry_runs import World\n"
        f"world = World(Path({str(tmp_path)!r}))\nrun = world.run('a')\nrun.register()\nrun.promote()\n"
        "world.run('b').promote()\nworld.roll_back()\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('model_signing', 'sigstore')]\n"
        "assert 'thinksafe.signing.bundles' not in sys.modules\n"
        "assert not world.store.keys('signatures/')\n"
        "assert 'evidence' not in world.store.get('promotions/m/000001.json').decode()\n"
        "assert 'signature' not in (run.folder / 'registration.json').read_text()\n"
    )
    support = str(Path(__file__).parents[2] / "support")
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": support})
