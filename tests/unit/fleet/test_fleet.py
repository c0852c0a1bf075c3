"""What the fleet says of stores: what needs a person, in which order, and what cannot be read."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from fleets import DAY, NOW, WEEKLY, World, metrics

from thinksafe.fleet.facts import numbers_of
from thinksafe.fleet.kept import Kept, parse
from thinksafe.fleet.survey import Fleet, Row, survey
from thinksafe.records import WaiverUse
from thinksafe.registry import evaluations
from thinksafe.store.local import LocalStore


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(LocalStore(tmp_path / "store"))


def look(world: World, now: float = NOW) -> Fleet:
    return survey([world.store.root], now, Kept())[0]


def row(world: World, now: float = NOW) -> Row:
    (found,) = look(world, now).rows
    return found


def states(of: Row) -> list[str]:
    return [reason.state for reason in of.reasons]


def test_a_model_whose_checks_hold_is_in_order(world: World) -> None:
    world.append("safe", "one", 20)
    world.evaluate("safe", "eval", 2)
    found = row(world)
    assert states(found) == ["In order"]
    model = found.model
    assert model.champion is not None
    assert (model.champion.version, model.since) == ("1", NOW - 20 * DAY)
    assert model.limits == {"harm": 0.05}
    newest = model.newest()
    assert newest is not None
    assert (newest.run_id, newest.numbers["harm/whole"].value, newest.numbers["reasoning"].value) == ("eval", 0.02, 0.6)


def test_numbers_are_the_worst_benchmark_and_the_average() -> None:
    found = numbers_of(metrics(0.1, **{"harm/two/answer": 0.3, "reasoning/s": 0.2}))
    assert found["harm/whole"] == (0.1, 0.05, 0.11)
    assert found["harm/answer"].value == 0.3
    assert found["reasoning"].value == 0.4


def test_an_alarm_holds_until_the_same_suite_passes(world: World) -> None:
    world.append("safe", "one", 20)
    world.evaluate("safe", "bad", 3, passed=False)
    world.evaluate("safe", "other", 2, suite="6" * 64)
    found = row(world)
    assert states(found) == ["Alarm"]
    assert found.reasons[0].words == "harm/two."
    world.evaluate("safe", "good", 1)
    assert states(row(world)) == ["In order"]


def test_another_champion_ends_an_alarm(world: World) -> None:
    world.append("safe", "one", 20)
    world.evaluate("safe", "bad", 3, passed=False)
    world.append("safe", "two", 1)
    assert states(row(world)) == ["In order"]


def test_an_old_evaluation_is_judged_by_its_record(world: World) -> None:
    world.append("safe", "one", 20)
    world.evaluate("safe", "bad", 3, passed=None)
    assert states(row(world)) == ["Alarm"]


def test_the_newest_run_that_failed_is_told_with_its_action(world: World) -> None:
    world.append("safe", "one", 5)
    world.run("broken", "safe", "failed", 1)
    found = row(world)
    assert states(found) == ["Failed"]
    assert found.reasons[0].words == "train: Out of memory. Use less."
    world.run("again", "safe", "nothing to do", 0.5)
    assert states(row(world)) == ["In order"]


def test_a_failed_evaluation_is_over_once_another_measured(world: World) -> None:
    world.append("safe", "one", 5)
    world.run("broken", "safe", "failed", 2, evaluation=True)
    assert states(row(world)) == ["Failed"]
    world.evaluate("safe", "eval", 1)
    assert states(row(world)) == ["In order"]


def test_a_run_without_a_report_is_failed_by_its_records_or_its_age(world: World) -> None:
    world.append("safe", "one", 5)
    world.run("lost", "safe", "incomplete", 3)
    assert states(row(world)) == ["In order"]
    assert states(row(world, NOW + 6 * DAY)) == ["Failed"]
    world.record("lost", "train", 3, status="failed", error="Killed.", action="Start again.")
    assert states(row(world)) == ["Failed"]


def test_overdue_by_the_configured_schedule(world: World) -> None:
    world.append("safe", "one", 40)
    world.evaluate("safe", "eval", 16, config=WEEKLY)
    assert states(row(world)) == ["Overdue"]
    assert "2026-11-15" in row(world).reasons[0].words
    world.evaluate("safe", "next", 8, config=WEEKLY)
    assert states(row(world)) == ["In order"], "one missed start may be that of a long run"


def test_a_run_under_way_is_not_overdue(world: World) -> None:
    daily = {"cluster": {"schedule": {"evaluate": {"enabled": True, "cron": "0 0 3 * * *"}}}}
    world.append("safe", "one", 40)
    world.evaluate("safe", "eval", 4, config=daily)
    assert states(row(world)) == ["Overdue"]
    world.run("running", "safe", "incomplete", 3, evaluation=True, config=daily)
    assert states(row(world)) == ["In order"]


@pytest.mark.parametrize("cron", ["", "nonsense", "0 0 3 30 2 *", 7, None])
def test_a_schedule_that_is_none_is_not_overdue(world: World, cron: Any) -> None:
    world.append("safe", "one", 5)
    world.evaluate("safe", "eval", 4, config={"cluster": {"schedule": {"enabled": True, "cron": cron}}})
    assert states(row(world)) == ["In order"]


def test_overdue_by_age_where_nothing_is_scheduled(world: World) -> None:
    world.append("safe", "one", 31)
    assert states(row(world)) == ["Overdue"]
    world.evaluate("safe", "eval", 29)
    assert states(row(world)) == ["In order"]


def test_a_waiver_that_has_expired_needs_a_person(world: World) -> None:
    use = WaiverUse(
        check="harm/two", person="bob", reason="r", expires=datetime.date(2026, 11, 29), effect="applied"
    )
    world.append("safe", "one", 5, waivers=(use,))
    assert states(row(world, NOW - DAY)) == ["In order"]
    assert states(row(world)) == ["Waiver expired"]


def test_models_without_champion_and_refused_candidates(world: World) -> None:
    world.run("first", "never", "refused by gate", 2)
    world.append("gone", "one", 9)
    world.append("gone", "one", 8, action="withdraw")
    world.append("refused", "three", 5)
    world.run("four", "refused", "refused by gate", 1)
    found = {of.model.name: states(of) for of in look(world).rows}
    assert found == {
        "gone": ["No champion"], "never": ["No champion", "Not promoted"], "refused": ["Not promoted"]
    }


def test_the_most_urgent_model_comes_first(world: World) -> None:
    for name in ("alarm", "broken", "damaged", "fine", "late"):
        world.append(name, f"{name}-1", 40 if name == "late" else 5)
    world.evaluate("alarm", "e", 1, passed=False)
    world.run("b", "broken", "failed", 1)
    world.store.put("promotions/damaged/000002.json", b"{}")
    world.run("n", "none", "stopped by curate", 1)
    found = [(of.model.name, of.state) for of in look(world).rows]
    assert found == [
        ("alarm", "Alarm"), ("damaged", "Damaged"), ("broken", "Failed"), ("late", "Overdue"), ("none", "No champion"),
        ("fine", "In order"),
    ]


def test_evaluations_count_for_the_champion_only_while_it_is_one(world: World) -> None:
    world.append("safe", "one", 20)
    world.append("safe", "two", 10)
    world.evaluate("safe", "before", 15, target="two")
    world.evaluate("safe", "first", 15, target="one")
    world.evaluate("safe", "after", 5, target="one")
    world.append("safe", "one", 3, action="rollback")
    world.evaluate("safe", "again", 1)
    world.evaluate("safe", "stranger", 1, target="neither")
    fleet = look(world)
    found = {point.run_id: reigns for point, reigns in fleet.rows[0].model.measured()}
    assert found == {
        "one": True, "two": True, "before": False, "first": True, "after": False, "again": True,
    }
    assert fleet.stores[0].others == 1


def test_evaluations_of_others_say_nothing_of_the_champion(world: World) -> None:
    world.append("safe", "one", 5)
    world.run("student", "safe", "failed", 1, evaluation=True, name="s3://models/base")
    assert states(row(world)) == ["In order"]
    world.run("named", "", "failed", 1, evaluation=True, name="models:/safe@champion")
    assert states(row(world)) == ["Failed"]


def test_a_comparison_says_nothing_of_the_champion(world: World) -> None:
    world.append("safe", "one", 5)
    config = {"registry": {"model": "safe"}}
    world.record("compared", "plan", 1, stage="plan_comparison", details={"config": config})
    world.record("compared", "train", 1, status="failed", error="Out of memory.", action="Use less.")
    fleet = look(world)
    assert [(of.model.name, of.state) for of in fleet.rows] == [("safe", "In order")]
    assert fleet.stores[0].lost == []


def test_damage_is_a_problem_of_its_model_only(world: World) -> None:
    for name in ("a", "b"):
        world.append(name, f"{name}-1", 5)
        world.evaluate(name, f"{name}-e", 1)
    key = next(
        key for key in world.store.keys("evaluations/") if evaluations.read(world.store, key).run_id == "a-e"
    )
    whole = world.store.get(key)
    for damage in (b"", b"{}", whole.replace(b'"adapter_digest":"a-1"', b'"adapter_digest":"x"'),
                   whole.replace(b'"created":"2026', b'"created":"soon')):
        assert damage != whole
        world.store.put(key, damage)
        fleet = look(world)
        assert [(of.model.name, of.state) for of in fleet.rows] == [("a", "Damaged"), ("b", "In order")]
        assert len(fleet.problems) == 1
        assert "000001.json" in fleet.problems[0]


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"schema_version": 9}'])
def test_damaged_records_of_runs(world: World, damage: bytes) -> None:
    world.append("a", "a-1", 5)
    world.evaluate("a", "a-e", 1)
    world.store.put("runs/a-e/plan.json", damage)
    assert row(world).state == "Damaged"
    world.store.put("runs/a-1/metrics-candidate.json", damage)
    assert len(row(world).model.problems) == 2
    world.store.put("runs/new/plan.json", damage)
    world.store.put("runs/new/report.json", damage)
    fleet = look(world)
    assert [note.run_id for note in fleet.stores[0].lost] == ["new"]


def test_names_that_are_none_and_stores_that_are_not_there(world: World, tmp_path: Path) -> None:
    world.append("safe", "one", 5)
    world.store.put("promotions/No Name/000001.json", b"{}")
    fleet, _ = survey([world.store.root, str(tmp_path / "nowhere"), world.store.root], NOW, Kept())
    assert [(of.model.name, of.state) for of in fleet.rows] == [("No Name", "Damaged"), ("safe", "In order")]
    assert [bool(store.problem) for store in fleet.stores] == [False, True]
    assert len(fleet.problems) == 2


def test_a_run_without_a_plan_is_lost(world: World) -> None:
    world.record("x", "plan", 1, status="failed", error="MLflow is down.", details={"date": "2026-11-29"})
    world.record("x", "report", 1, verdict="failed")
    world.store.put("runs/notes/readme.txt", b"")
    fleet = look(world)
    assert fleet.rows == ()
    assert [(note.run_id, note.outcome) for note in fleet.stores[0].lost] == [("x", "failed")]


def test_what_was_kept_saves_reading_and_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append("safe", "one", 20)
    for days in (3, 2, 1):
        world.evaluate("safe", f"e{days}", days)
    world.run("r", "safe", "refused by gate", 4)
    root = world.store.root
    first, kept = survey([root], NOW, Kept())
    read: list[str] = []
    get = LocalStore.get

    def counted(store: LocalStore, key: str) -> bytes:
        read.append(key)
        return get(store, key)

    monkeypatch.setattr(LocalStore, "get", counted)
    again, same = survey([root], NOW, parse(kept.model_dump_json().encode()))
    assert sorted(read) == ["promotions/safe/000001.json", "runs/e1/plan.json"]
    assert same == kept
    assert shown(again) == shown(first)
    key = next(key for key in world.store.keys("evaluations/") if key.endswith("000003.json"))
    world.store.put(key, get(world.store, key).replace(b'"passed":true', b'"passed":false'))
    assert survey([root], NOW, kept)[0].rows[0].state == "Alarm", "a changed object is read again"


def shown(fleet: Fleet) -> list[Any]:
    return [(of.model.measured(), of.model.notes, of.reasons, of.model.limits) for of in fleet.rows]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"schema_version": 2}', b'{"stores": {"x": {"notes": 1}}}', b"\xff"])
def test_what_was_kept_may_be_anything(data: bytes) -> None:
    assert parse(data) == Kept()


def test_what_awaits_approval_says_who_approved_what_is_missing_and_until_when(world: World) -> None:
    world.append("waits", "one", 9)
    world.ask("waits", "two", "2", 1, (("approve", "ann"),))
    world.ask("new", "first", "1", 1)
    world.append("done", "three", 9)
    world.ask("done", "four", "2", 1, (("approve", "ann"), ("approve", "bob")))
    found = {of.model.name: of.reasons for of in look(world).rows}
    (reason,) = found["waits"]
    assert reason.state == "Awaiting approval"
    assert reason.words == (
        "Version 2 has awaited approval since 2026-11-29: 1 of 2 approvals, by ann; open until 2026-12-13 12:00 UTC, "
        "for 13 days more."
    )
    assert found["done"][0].words.startswith("Version 2 is approved and not promoted: 2 of 2 approvals, by ann, bob")
    assert [reason.state for reason in found["new"]] == ["Awaiting approval", "No champion"]


def test_what_was_rejected_expired_or_overtaken_does_not_wait(world: World) -> None:
    for name in ("rejected", "expired", "overtaken"):
        world.append(name, f"{name}-1", 40)
        world.evaluate(name, f"{name}-e", 1)
        said = (("reject", "bob"),) if name == "rejected" else ()
        world.ask(name, f"{name}-2", "2", 20 if name == "expired" else 5, said)
    world.append("overtaken", "overtaken-3", 2)
    world.ask("stranger", "s", "1", 1, (("approve", "mallory"), ("approve", "author")))
    found = {of.model.name: of.reasons for of in look(world).rows}
    assert found["rejected"] == (("Not promoted", "Version 2 was rejected by bob: not yet (2026-11-25)."),)
    assert found["expired"][0].state == "Not promoted"
    assert "expired on 2026-11-24" in found["expired"][0].words
    assert [reason.state for reason in found["overtaken"]] == ["In order"]
    assert "0 of 2 approvals" in found["stranger"][0].words


def test_a_run_that_waited_is_read_again(world: World) -> None:
    world.ask("m", "one", "1", 1)
    first, kept = survey([world.store.root], NOW, Kept())
    assert states(first.rows[0])[0] == "Awaiting approval"
    world.append("m", "one", 0)
    world.run("one", "m", "promoted", 1)
    again, _ = survey([world.store.root], NOW, kept)
    assert states(again.rows[0]) == ["In order"]


def test_a_damaged_approval_is_a_problem_of_its_model(world: World) -> None:
    world.ask("m", "one", "1", 1)
    world.store.put("approvals/m/1/000002.json", b"{}")
    (of,) = look(world).rows
    assert "Damaged" in states(of)
    assert "approvals/m/1/000002.json" in of.model.problems[0]
