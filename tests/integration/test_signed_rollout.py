"""Signatures from end to end: adapters and ledger in S3, MLflow, a Kubernetes API, and a served model over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from registry_runs import Run
from rollout_world import RolloutWorld
from signed_worlds import Key

from thinksafe.errors import SignatureError
from thinksafe.registry import ledger
from thinksafe.registry.ledger import entry_key
from thinksafe.registry.registration import trained_of
from thinksafe.registry.signed import Seal, signature_key
from thinksafe.signing.trained import bundle_key


@pytest.fixture
def world(rollouts: RolloutWorld, tmp_path: Path) -> RolloutWorld:
    rollouts.world.sign = Key(tmp_path, "2026").settings()
    return rollouts


def seal(world: RolloutWorld) -> Seal:
    assert world.world.sign is not None
    return Seal(world.world.store, "m", world.world.sign)


def flip(world: RolloutWorld, key: str) -> bytes:
    """Change a bit of an object, as somebody with access to the bucket does, and return what it was."""
    store = world.world.store
    before = store.get(key)
    store.put(key, bytes([before[0] ^ 1]) + before[1:])
    return before


def untouched(world: RolloutWorld, run: Run, generation: str) -> None:
    """What was served before is still served, and nothing was written."""
    assert world.serving == (generation, trained_of(run.candidate).digest)


@pytest.mark.slow
def test_what_is_signed_is_served_and_what_was_changed_is_not(world: RolloutWorld) -> None:
    store = world.world.store
    first = world.promoted("a")
    assert world.deploy(first)[1].verdict == "verified"
    told = world.deployment["spec"]["template"]["spec"]["initContainers"][0]["args"]
    assert told[told.index("--signed-as") + 1] == "m@1"

    second = world.promoted("b", full=True)
    place = trained_of(second.candidate).place
    for key, said in (
        (f"{place}/model.safetensors", r"model\.safetensors differs"),
        (f"{place}/config.json", r"config\.json differs"),
        (entry_key("m", 1), "000001"), (entry_key("m", 2), "000002"),
        (bundle_key(trained_of(second.candidate), "m@2"), "is damaged"), (signature_key("m", 2), "is damaged"),
    ):
        before = flip(world, key)
        with pytest.raises(Exception, match=said):
            world.deploy(second)
        untouched(world, first, "1")
        store.put(key, before)
    store.put(f"{place}/extra.json", b"{}")
    with pytest.raises(SignatureError, match=r"'extra\.json' was added"):
        world.deploy(second)
    store.delete(f"{place}/extra.json")
    assert world.deploy(second)[1].verdict == "verified"
    assert world.serving[0] == "2"


@pytest.mark.slow
def test_a_rollout_that_fails_returns_to_what_is_signed_without_the_key(
    world: RolloutWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.promoted("a")
    world.deploy(first)
    bad = world.promoted("b", bad=True)
    sign = world.world.sign
    assert sign is not None
    world.world.sign = sign.model_copy(update={"private_key": ""})  # the stage deploy has none
    assert world.deploy(bad)[1].verdict == "rolled back"
    assert world.serving == ("3", trained_of(first.candidate).digest)
    assert not world.world.store.exists(signature_key("m", 3))
    assert seal(world).require_servable().generation == 3
    # started again it ends the same way
    assert world.deploy(bad)[1].verdict == "rolled back"
    assert len(ledger.entries(world.world.store, "m")) == 3


@pytest.mark.slow
def test_a_rollout_that_fails_serves_nothing_if_the_one_before_is_not_signed(world: RolloutWorld) -> None:
    first = world.promoted("a")
    world.deploy(first)
    bad = world.promoted("b", bad=True)
    flip(world, "adapters/a/adapter_config.json")
    _, ended = world.deploy(bad)
    assert ended.verdict == "withdrawn"
    assert "The one before it is not" in ended.reason
    assert "adapter_config.json differs" in ended.reason
    assert world.deployment["spec"]["replicas"] == 0


@pytest.mark.slow
def test_files_that_are_changed_after_the_check_do_not_start(world: RolloutWorld) -> None:
    """The init container checks on its own: a pod may start weeks after the rollout."""
    first = world.promoted("a")
    world.deploy(first)
    real = world.api.controller

    def tampering(found: Any) -> Any:
        if "tampered" not in world.log:
            flip(world, "adapters/b/adapter_model.safetensors")
            world.log.append("tampered")
        return real(found)

    second = world.promoted("b")
    world.api.controller = tampering
    _, ended = world.deploy(second)
    assert ended.verdict == "rolled back"
    assert "did not become ready" in ended.reason
