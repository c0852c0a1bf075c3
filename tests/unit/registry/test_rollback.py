"""Rollback and withdrawal: ledger and alias, against a real MLflow on a SQLite file."""

from __future__ import annotations

import pytest
from kills import ALIAS, STEPS, Killed, kill
from registry_runs import World

from thinksafe.errors import ConfigError, ConflictError, StageError, StoreError
from thinksafe.jsonl import read_record
from thinksafe.models.references import ModelReference
from thinksafe.registry import ledger
from thinksafe.registry.mlflow_client import connect


@pytest.mark.parametrize(("step", "when"), STEPS)
def test_a_killed_rollback_is_completed_by_a_rerun(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    for name in ("a", "b", "c"):
        world.run(name).promote()
    kill(monkeypatch, step, when)
    with pytest.raises(Killed):
        world.roll_back()
    monkeypatch.undo()
    if (step, when) != (ALIAS, "after"):  # there, all was done: again would mean further back
        world.roll_back()
    assert [owner for _, owner, _ in world.history] == ["a", "b", "c", "b"]
    assert world.alias == "2"


def test_rollback_goes_back_and_further_back_but_never_forward(world: World) -> None:
    for name in ("a", "b", "c"):
        world.run(name).promote()
    entry = world.roll_back()
    assert (entry.generation, entry.previous, entry.action) == (4, 3, "rollback")
    assert (entry.run_id, entry.version, entry.who, entry.reason) == ("b", "2", "ann", "it got worse")
    assert entry.target == ledger.entries(world.store, "m")[1].target
    assert world.alias == "2"
    assert world.roll_back().run_id == "a"
    assert world.alias == "1"
    with pytest.raises(ConfigError, match="no champion before") as caught:
        world.roll_back()
    assert caught.value.exit_code == 2
    assert len(world.history) == 5


def test_rollback_skips_what_was_rolled_back_before(world: World) -> None:
    world.run("a").promote()
    world.run("bad").promote()
    world.roll_back()
    world.run("worse").promote()
    assert world.roll_back().run_id == "a"


def test_rollback_skips_other_generations_of_the_same_target(world: World) -> None:
    world.run("a", adapter="one").promote()
    world.run("b", adapter="two").promote()
    world.run("c", adapter="two").promote()
    assert [version for _, _, version in world.history] == ["1", "2", "3"]
    assert world.roll_back().version == "1"


def test_rollback_to_a_named_generation(world: World) -> None:
    for name in ("a", "b", "c"):
        world.run(name).promote()
    assert world.roll_back(to=1).run_id == "a"
    assert world.roll_back(to=1).generation == 4  # the same command again: done already
    assert world.roll_back(to=3).run_id == "c"
    assert world.alias == "3"
    for to in (0, -1, 5, 6, 99):
        with pytest.raises(ConfigError, match=f"no generation {to} before"):
            world.roll_back(to=to)
    assert len(world.history) == 5


def test_rollback_to_the_current_target_is_refused(world: World) -> None:
    world.run("a", adapter="one").promote()
    world.run("b", adapter="one").promote()
    with pytest.raises(ConfigError, match="champion now"):
        world.roll_back(to=1)


def test_rollback_without_anything_earlier(world: World) -> None:
    with pytest.raises(ConfigError, match="Nothing has been promoted"):
        world.roll_back()
    world.run("a").promote()
    for to in (None, 1):
        with pytest.raises(ConfigError):
            world.roll_back(to=to)
    assert len(world.history) == 1


def test_rollback_checks_the_target_first(world: World) -> None:
    world.run("a").promote()
    world.run("b").promote()
    world.store.put("adapters/a/adapter_model.safetensors", b"other")
    with pytest.raises(StoreError, match="digest differs"):
        world.roll_back()
    world.store.put("adapters/a/adapter_model.safetensors", b"a")
    connect(world.settings.tracking_uri).delete_model_version("m", "1")
    with pytest.raises(StageError, match="is not in MLflow"):
        world.roll_back()
    assert len(world.history) == 2
    assert world.alias == "2"


def taken_back(world: World, version: str) -> dict[str, str]:
    tags = connect(world.settings.tracking_uri).get_model_version("m", version).tags
    return {name.removeprefix("thinksafe.taken_back"): tags[name] for name in tags if "taken_back" in name}


def test_what_was_taken_back_is_tagged_until_it_is_reinstated(world: World) -> None:
    for name in ("a", "b"):
        world.run(name).promote()
    world.roll_back()
    assert taken_back(world, "2") == {"": "generation 3", "_by": "ann", "_reason": "it got worse"}
    assert taken_back(world, "1") == {}
    world.roll_back(to=2)
    assert taken_back(world, "2") == {}
    assert taken_back(world, "1") == {}, "who returns to what was rolled back takes nothing back"


def test_a_deleted_version_does_not_stop_a_rollback(world: World) -> None:
    for name in ("a", "b"):
        world.run(name).promote()
    connect(world.settings.tracking_uri).delete_model_version("m", "2")
    world.roll_back()
    assert world.alias == "1"


def test_a_withdrawal_leaves_no_champion_and_can_be_undone(world: World) -> None:
    world.run("a").promote()
    gone = world.withdraw()
    assert (gone.generation, gone.previous, gone.action, gone.run_id) == (2, 1, "withdraw", "a")
    assert (gone.reason, gone.who) == ("it is harmful", "ann")
    assert world.alias == ""
    assert taken_back(world, "1") == {"": "generation 2", "_by": "ann", "_reason": "it is harmful"}
    assert world.withdraw() == gone, "the same command again: done already"
    with pytest.raises(ConfigError, match="has no champion: the last is the withdrawal of run a by ann"):
        world.roll_back()
    assert world.roll_back(to=1).generation == 3
    assert world.alias == "1"
    assert taken_back(world, "1") == {}
    with pytest.raises(ConfigError, match="Generation 2 of 'm' is a withdrawal"):
        world.roll_back(to=2)
    assert [action for action, _, _ in world.history] == ["promote", "withdraw", "rollback"]


def test_after_a_withdrawal_a_run_is_compared_with_none_and_promotes(world: World) -> None:
    world.run("a").promote()
    world.withdraw()
    run = world.run("b")
    assert read_record(run.folder / "champion.json", ModelReference).absent
    run.promote()
    assert world.alias == "2"
    with pytest.raises(ConfigError, match="no champion before"):
        world.roll_back()  # what was withdrawn is not returned to


def test_a_withdrawal_overtakes_a_run_that_was_compared_with_the_champion(world: World) -> None:
    world.run("a").promote()
    run = world.run("b")
    world.withdraw()
    with pytest.raises(StageError, match="There is no champion now"):
        run.promote()


def test_only_the_generation_that_is_meant_is_taken_back(world: World) -> None:
    for name in ("a", "b"):
        world.run(name).promote()
    for take in (world.withdraw, world.roll_back):
        with pytest.raises(ConflictError, match=r"Generation 1 of 'm' is no longer the newest: .* run b"):
            take(of=1)
    assert len(world.history) == 2


@pytest.mark.parametrize(("step", "when"), [
    ("thinksafe.registry.ledger.append", "after"), ("mlflow.MlflowClient.set_model_version_tag", "before"),
    ("mlflow.MlflowClient.delete_registered_model_alias", "before"),
])
def test_a_killed_withdrawal_is_completed_by_a_rerun(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    world.run("a").promote()
    kill(monkeypatch, step, when)
    with pytest.raises(Killed):
        world.withdraw()
    monkeypatch.undo()
    world.withdraw()
    assert [action for action, _, _ in world.history] == ["promote", "withdraw"]
    assert world.alias == ""
    assert taken_back(world, "1")[""] == "generation 2"


def test_a_restarted_run_is_compared_with_what_was_not_taken_back(world: World) -> None:
    world.run("a").promote()
    run = world.run("b")
    run.promote()
    world.run("c").promote()
    world.roll_back()
    run.compare()
    assert read_record(run.folder / "champion.json", ModelReference).adapter == "adapters/a"
    assert run.promote().verdict == "promoted"
    assert len(world.history) == 4
