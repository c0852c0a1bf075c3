from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fleets import World as Fleet
from registry_runs import World

from thinksafe.errors import StageError
from thinksafe.registry import ledger
from thinksafe.report.summary import summarise
from thinksafe.report.words import next_steps, why
from thinksafe.run.record import (
    StageContext,
    StageRecord,
    StageResult,
    find_record,
    list_records,
    silent,
    write_stage_record,
)
from thinksafe.stages import due
from thinksafe.store import Store

SECTIONS = {
    "train": {"seed": 1}, "gate": {"waivers_on": "2026-01-01", "limit": 0.1}, "report": {"recipe": "a"},
}
PROMPTS = {"pilot": "a", "training": "b", "evaluation": "c", "contamination": "d"}


def write(
    store: Store, run_id: str, *, base: str = "student", prompts: Any = PROMPTS, policies: Any = None, **sections: Any
) -> None:
    common = {"run_id": run_id, "status": "succeeded", "started": 1.0, "seconds": 1.0}
    details = {
        "sections": SECTIONS | sections, "config": {"registry": {"model": "m"}}, "code": {"thinksafe": "0.1"}
    }
    plan = StageRecord(**common, stage="plan", task="plan", outputs={"base": base} | (policies or {}), details=details)  # type: ignore[arg-type]
    prepare = StageRecord(**common, stage="prepare", task="prepare", outputs=prompts)  # type: ignore[arg-type]
    write_stage_record(store, plan)
    write_stage_record(store, prepare)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A store with a champion that the run ``old`` made."""
    world = World(tmp_path)
    write(world.store, "old")
    made = world.run("old", "adapter-1")
    ledger.append(world.store, made.entry(1, "1"))
    return world


def ask(world: World, run_id: str = "new", *, if_changed: bool = True) -> tuple[StageResult, str]:
    report, flag = world.folder / "contamination.json", world.folder / "flag"
    report.write_text("{}")
    context = StageContext(store=world.store, run_id=run_id, stage="due", task="due", track=silent)
    return due.run(context, report, if_changed=if_changed, passed_out=flag), flag.read_text()


def test_equal_inputs_leave_nothing_to_do(world: World) -> None:
    write(world.store, "new")
    result, flag = ask(world)
    assert (flag, result.verdict) == ("false", "nothing to do")
    assert result.details.champion_run == "old"
    assert (result.details.same, result.details.changed) == (True, ())


def test_it_goes_on_unless_it_was_asked_to_look(world: World) -> None:
    write(world.store, "new")
    result, flag = ask(world, if_changed=False)
    assert (flag, result.verdict, result.details.same) == ("true", "due", True)


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"base": "another"}, ["student"]),
        ({"prompts": PROMPTS | {"training": "x"}}, ["prompts training"]),
        ({"train": {"seed": 2}}, ["section train"]),
        ({"gate": {"waivers_on": "2026-01-01", "limit": 0.2}}, ["section gate"]),
        ({"new_section": {}}, ["section new_section"]),
        ({"policies": {"policy of guard.filter": "x"}}, ["policy of guard.filter"]),
    ],
)
def test_anything_new_is_named_and_goes_on(world: World, changed: Any, names: list[str]) -> None:
    write(world.store, "new", **changed)
    result, flag = ask(world)
    assert flag == "true"
    assert result.details.changed == tuple(names)


@pytest.mark.parametrize(
    "changed",
    [
        {"gate": {"waivers_on": "2026-02-02", "limit": 0.1}}, {"report": {"recipe": "b"}},
    ],
)
def test_the_day_and_the_report_are_nothing_new(world: World, changed: Any) -> None:
    write(world.store, "new", **changed)
    assert ask(world)[1] == "false"


def test_without_a_champion_it_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    write(world.store, "new")
    assert ask(world)[1] == "true"


def test_a_champion_whose_records_are_gone_or_malformed_goes_on(world: World) -> None:
    write(world.store, "new")
    world.store.put("runs/old/prepare.json", b"{}")
    result, flag = ask(world)
    assert (flag, result.details.changed) == ("true", None)


def test_the_run_that_made_the_champion_is_not_compared_with_itself(world: World) -> None:
    assert ask(world, "old")[1] == "true"


def test_a_run_without_records_is_an_error(world: World) -> None:
    with pytest.raises(StageError, match="no records of plan and prepare"):
        ask(world)


def taken(world: World, run: str, adapter: str) -> ledger.LedgerEntry:
    """Promote a run's candidate as the second generation and roll it back."""
    made = world.run(run, adapter).entry(2, "2")
    ledger.append(world.store, made)
    back = ledger.entries(world.store, "m")[0].model_copy(update={
        "generation": 3, "previous": 2, "action": "rollback", "reason": "rollout of generation 2: it was harmful."
    })
    ledger.append(world.store, back)
    return back


def test_what_was_taken_back_is_not_made_again(world: World) -> None:
    write(world.store, "bad", train={"seed": 2})
    taken(world, "bad", "adapter-2")
    write(world.store, "new", train={"seed": 2})
    result, flag = ask(world)
    assert (flag, result.verdict) == ("false", "nothing to do")
    assert (result.details.same, result.details.champion_run) == (False, "old")
    assert result.details.taken_back == {
        "run_id": "bad", "generation": 2, "version": "2", "action": "rollback", "by_generation": 3,
        "reason": "rollout of generation 2: it was harmful.",
    }
    summary = summarise(list_records(world.store, "new").found)
    assert "the same as in run bad, whose candidate (generation 2, version 2) was rolled back" in why(summary)
    assert "rollback --to 2" in next_steps(summary)


def test_with_something_new_it_is_made(world: World) -> None:
    write(world.store, "bad", train={"seed": 2})
    taken(world, "bad", "adapter-2")
    write(world.store, "new", train={"seed": 3})
    result, flag = ask(world)
    assert (flag, result.verdict, result.details.taken_back) == ("true", "due", None)


def test_a_run_that_asks_for_it_makes_it_again(world: World) -> None:
    write(world.store, "bad", train={"seed": 2})
    taken(world, "bad", "adapter-2")
    write(world.store, "new", train={"seed": 2})
    result, flag = ask(world, if_changed=False)
    assert flag == "true"
    assert result.details.taken_back["run_id"] == "bad"


def test_a_restarted_run_is_not_stopped_by_its_own_rollback(world: World) -> None:
    write(world.store, "bad", train={"seed": 2})
    taken(world, "bad", "adapter-2")
    assert ask(world, "bad")[1] == "true"


def test_a_withdrawn_first_candidate_is_not_made_again(world: World) -> None:
    only = ledger.entries(world.store, "m")[0]
    ledger.append(world.store, only.model_copy(update={"generation": 2, "previous": 1, "action": "withdraw"}))
    write(world.store, "new")
    result, flag = ask(world)
    assert (flag, result.details.champion_run) == ("false", "")
    assert result.details.taken_back["action"] == "withdraw"


def test_what_was_reinstated_counts_as_the_champion(world: World) -> None:
    write(world.store, "bad", train={"seed": 2})
    back = taken(world, "bad", "adapter-2")
    again = ledger.entries(world.store, "m")[1].model_copy(update={
        "generation": 4, "previous": back.generation, "action": "rollback"
    })
    ledger.append(world.store, again)
    write(world.store, "new", train={"seed": 2})
    result, _ = ask(world)
    assert (result.details.same, result.details.champion_run) == (True, "bad")
    assert result.details.taken_back is None


@pytest.mark.parametrize(("said", "state"), [((), "waiting"), ((("reject", "bob"),), "rejected")])
def test_people_are_not_asked_the_same_twice(world: World, said: Any, state: str) -> None:
    fleet = Fleet(world.store)
    fleet.ask("m", "asks", "7", 0, said, expires="9999d")
    asking = find_record(world.store, "asks", "plan")
    assert asking is not None
    section = asking.details["sections"]["promote"]
    # the plan of the run that asked, with the inputs of the new one
    write(world.store, "asks", train={"seed": 2}, promote=section)
    plan = find_record(world.store, "asks", "plan")
    assert plan is not None
    details = {**plan.details, "champion": asking.details["champion"], "author": "author"}
    write_stage_record(world.store, plan.model_copy(update={"details": details}))
    write(world.store, "new", train={"seed": 2}, promote=section)
    result, flag = ask(world)
    assert (flag, result.verdict) == ("false", "nothing to do")
    assert (result.details.asked["version"], result.details.asked["state"]) == ("7", state)
    summary = summarise(list_records(world.store, "new").found)
    assert "about whose candidate (version 7) people were asked" in why(summary)
    assert "without if_changed" in next_steps(summary)
    assert ask(world, if_changed=False)[1] == "true"
    assert ask(world, "asks")[1] == "true", "the run that asked goes on"
    write(world.store, "new", train={"seed": 3}, promote=section)
    assert ask(world)[1] == "true"
