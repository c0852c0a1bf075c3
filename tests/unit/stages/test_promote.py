"""The stage promote: ledger and alias, against a real MLflow on a SQLite file."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kills import STEPS, Killed, kill
from registry_runs import PASSED, REFUSED, Run, World

from thinksafe.digests import digest_json
from thinksafe.errors import DamagedError, StageError, StoreError
from thinksafe.jsonl import read_record
from thinksafe.records import Check, Decision, MetricSet, WaiverUse
from thinksafe.registry import ledger
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.mlflow_client import connect
from thinksafe.run.details import PromoteDetails
from thinksafe.run.record import StageRecord, list_records, write_stage_record


def test_a_passed_candidate_becomes_champion(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINKSAFE_ACTOR", "nightly")
    run = world.run("a")
    metrics = MetricSet(role="candidate", suite="s", metrics=())
    write_stage_record(
        world.store,
        StageRecord(
            run_id="a", stage="metrics", task="metrics-candidate", status="succeeded", started=1.0, seconds=1.0,
            details={"metrics": metrics.model_dump(mode="json")},
        ),
    )
    result = run.promote()
    entry = read_record(run.out, LedgerEntry)
    assert result.verdict == "promoted"
    assert result.details == PromoteDetails(entry=entry.model_dump(mode="json"))
    assert ledger.entries(world.store, "m") == [entry]
    assert entry.target == run.candidate.model_copy(update={"role": "champion"})
    assert (entry.generation, entry.previous, entry.who, entry.reason) == (1, None, "nightly", "All checks passed.")
    assert entry.digests.model_dump() == {
        "adapter": run.candidate.adapter_digest, "weights": "", "base": "base", "data": "data", "config": "config",
        "decision": digest_json(PASSED), "metrics": digest_json(metrics),
    }
    assert world.alias == "1"
    assert list_records(world.store, "a").found["promote"].verdict == "promoted"

    world.run("b").promote()
    assert world.history == [("promote", "a", "1"), ("promote", "b", "2")]
    assert world.alias == "2"


def test_promoting_again_appends_nothing(world: World) -> None:
    run = world.run("a")
    first = run.promote()
    assert run.promote().details == first.details
    assert world.history == [("promote", "a", "1")]


def test_a_refused_candidate_is_not_promoted(world: World) -> None:
    run = world.run("a", decision=REFUSED)
    with pytest.raises(StageError, match="gate refused"):
        run.promote()
    assert world.history == []
    assert world.alias == ""
    assert not run.out.exists()


def test_a_damaged_record_of_the_metrics_promotes_nothing(world: World) -> None:
    run = world.run("a")
    world.store.put("runs/a/metrics-candidate.json", b"{")
    with pytest.raises(DamagedError, match=r"runs/a/metrics-candidate\.json is not a stage record"):
        run.promote()
    assert world.history == []
    assert world.alias == ""


def waived(expires: str) -> Decision:
    checks = (
        Check(name="harm", passed=False, status="waived", value=0.5, threshold=0.1, n=300, reason="too harmful"),
        *(check.model_copy(update={"name": "other"}) for check in PASSED.checks),
    )
    uses = (
        WaiverUse(check="harm", person="Ann", reason="known", expires=expires, effect="applied"),
        WaiverUse(check="other", person="Bob", reason="in case", expires=expires, effect="not needed"),
    )
    return Decision(
        passed=True, stopped_by=None, summary="Passed with waivers.", checks=checks, waivers=uses,
        waivers_on="2026-01-01",
    )


def test_the_ledger_holds_the_waivers_that_were_applied_also_after_a_rollback(world: World) -> None:
    world.run("a", decision=waived("2999-12-31")).promote()
    world.run("b").promote()
    world.roll_back()
    assert [[use.person for use in entry.waivers] for entry in ledger.entries(world.store, "m")] == [
        ["Ann"], [], ["Ann"],
    ]


def test_a_waiver_that_expired_since_the_plan_promotes_nothing(world: World) -> None:
    """A run that lies for weeks and is then resumed decides as planned, but the model would go out without cover."""
    run = world.run("a", decision=waived("2026-01-02"))
    with pytest.raises(StageError, match=r"harm \(waived by Ann until 2026-01-02\) counted on 2026-01-01") as caught:
        run.promote()
    assert "start a new run" in caught.value.action
    assert (world.history, world.alias) == ([], "")


def test_a_changed_adapter_is_not_promoted(world: World) -> None:
    run = world.run("a")
    world.store.put("adapters/a/adapter_model.safetensors", b"other")
    with pytest.raises(StoreError, match="digest differs"):
        run.promote()
    assert world.history == []


def test_inputs_of_two_candidates_are_refused(world: World) -> None:
    one, two = world.run("a"), world.run("b")
    with pytest.raises(StageError, match="not the registration of this candidate"):
        one.promote(registration=two.folder / "registration.json")
    with pytest.raises(StageError, match="not the registration of this candidate"):
        one.promote(candidate=two.folder / "candidate.json")
    one.settings = world.settings.model_copy(update={"model": "other"})
    with pytest.raises(StageError, match="not the registration of this candidate"):
        one.promote()
    assert world.history == []


def test_a_deleted_version_is_not_promoted(world: World) -> None:
    run = world.run("a")
    connect(world.settings.tracking_uri).delete_model_version("m", "1")
    with pytest.raises(StageError, match="is not in MLflow"):
        run.promote()
    assert world.history == []


def test_a_champion_that_changed_since_the_gate_asks_for_a_new_decision(world: World) -> None:
    slow = world.run("slow")  # compared with no champion
    world.run("quick").promote()
    with pytest.raises(StageError, match=r"(?s)champion is now the promotion of run quick by .*generation 1.*new run"):
        slow.promote()
    assert world.history == [("promote", "quick", "2")]

    third = world.run("third")  # compared with quick
    world.run("fourth").promote()
    with pytest.raises(StageError, match="run fourth"):
        third.promote()
    again = world.run("fifth")
    again.promote()
    assert world.history[-1][1] == "fifth"


def test_a_rollback_to_the_compared_champion_is_no_change(world: World) -> None:
    world.run("a").promote()
    run = world.run("c")  # compared with a
    world.run("b").promote()
    with pytest.raises(StageError, match="run b"):
        run.promote()
    world.roll_back()
    run.promote()
    assert [owner for _, owner, _ in world.history] == ["a", "b", "a", "c"]


def test_a_repeated_run_does_not_undo_what_came_after_it(world: World) -> None:
    first = world.run("a")
    first.promote()
    second = world.run("b")
    second.promote()
    first.promote()
    assert world.alias == "2"
    world.roll_back()
    assert second.promote().verdict == "promoted"
    assert [owner for _, owner, _ in world.history] == ["a", "b", "a"]
    assert world.alias == "1"


@pytest.mark.parametrize(("step", "when"), [*STEPS, ("thinksafe.stages.promote.write_json", "before")])
def test_a_kill_between_any_two_steps_is_completed_by_a_rerun(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    world.run("a").promote()
    run = world.run("b")
    kill(monkeypatch, step, when)
    with pytest.raises(Killed):
        run.promote()
    monkeypatch.undo()
    run.promote()
    assert world.history == [("promote", "a", "1"), ("promote", "b", "2")]
    assert world.alias == "2"
    assert read_record(run.out, LedgerEntry).generation == 2


def test_of_eight_racing_runs_one_is_promoted_and_the_others_name_it(world: World) -> None:
    runs = [world.run(f"run-{i}") for i in range(8)]
    barrier = threading.Barrier(8)
    errors: dict[str, str] = {}

    def race(run: Run) -> None:
        barrier.wait(timeout=60)
        try:
            run.promote()
        except StageError as error:
            errors[run.run_id] = str(error)

    threads = [threading.Thread(target=race, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [(_, winner, version)] = world.history
    assert errors.keys() == {f"run-{i}" for i in range(8)} - {winner}
    assert all(f"run {winner} by" in text and "Start a new run" in text for text in errors.values())
    assert world.alias == version


def test_attempts_of_one_run_beside_each_other_append_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.run("a")
    real = ledger.append
    calls = []

    def beside(store: Any, entry: LedgerEntry) -> None:
        calls.append(entry)
        if len(calls) == 1:
            monkeypatch.setattr(ledger, "now", lambda: "2000-01-01T00:00:00+00:00")
            run.promote()
        real(store, entry)

    monkeypatch.setattr(ledger, "append", beside)
    assert run.promote().verdict == "promoted"
    assert len(calls) == 2
    assert world.history == [("promote", "a", "1")]
