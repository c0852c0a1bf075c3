"""promote where people must approve: it asks, waits and promotes once, against a real MLflow on a SQLite file."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from approved_runs import API, ApprovedRun, demand
from registry_runs import PASSED, World

from thinksafe.config.model import RegistrySettings
from thinksafe.errors import ConflictError, DamagedError, InputError, StageError, StoreError
from thinksafe.jsonl import read_record
from thinksafe.kube.identity import Identity
from thinksafe.records import Check, Decision, WaiverUse
from thinksafe.registry import approvals, ledger, sign_off
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.mlflow_client import connect
from thinksafe.run.details import PromoteDetails
from thinksafe.run.record import list_records


def tags(settings: RegistrySettings, version: str) -> dict[str, str]:
    return dict(connect(settings.tracking_uri).get_model_version("m", version).tags)


def state(of: ApprovedRun) -> str:
    return sign_off.standing(of.world.store, "m", of.version).review.state


def test_a_run_waits_and_a_person_approves(world: World) -> None:
    waiting = ApprovedRun(world, "a", demand())
    result = waiting.promote()
    assert result.verdict == "awaiting approval"
    assert (world.history, world.alias) == ([], "")
    assert waiting.run.out.read_bytes() == b"null\n"
    assert (waiting.run.folder / "rolled-out").read_bytes() == b"false"
    record = list_records(world.store, "a").found["promote"]
    shown = record.read(PromoteDetails).approval
    assert (record.verdict, shown["state"], shown["missing"]) == ("awaiting approval", "waiting", 1)
    assert tags(world.settings, "1")["thinksafe.approval"] == "awaiting approval"
    assert connect(world.settings.tracking_uri).get_registered_model("m").aliases == {"candidate": 1}

    standing = waiting.say("approve", "ann", "read the report")
    assert standing.review.state == "approved"
    assert waiting.promote().verdict == "promoted"
    entry = read_record(waiting.run.out, LedgerEntry)
    assert [(use.person, use.reason, use.confirmed_by) for use in entry.approvals] == [("ann", "read the report", "")]
    assert world.alias == "1"
    assert tags(world.settings, "1")["thinksafe.approval"] == "approved"
    assert "ann" in tags(world.settings, "1")["thinksafe.approvals"]
    assert waiting.promote().verdict == "promoted"
    assert world.history == [("promote", "a", "1")]
    with pytest.raises(InputError, match="promoted already"):
        waiting.say("approve", "bob")


def test_asking_again_asks_once(world: World) -> None:
    waiting = ApprovedRun(world, "a", demand())
    for _ in range(3):
        assert waiting.promote().verdict == "awaiting approval"
    assert [entry.action for entry in approvals.entries(world.store, "m", "1")] == ["request"]


def test_a_ledger_without_approvals_has_no_such_field(world: World) -> None:
    world.run("a").promote()
    assert "approvals" not in json.loads(world.store.get("promotions/m/000001.json"))


def test_the_ledger_keeps_who_approved_after_a_rollback(world: World) -> None:
    first = ApprovedRun(world, "a", demand())
    first.promote()
    first.say("approve", "ann")
    first.promote()
    world.run("b").promote()
    world.roll_back()
    assert [[use.person for use in entry.approvals] for entry in ledger.entries(world.store, "m")] == [
        ["ann"], [], ["ann"]
    ]


@pytest.mark.parametrize(("action", "who", "error", "message"), [
    ("approve", "mallory", InputError, "not in promotion.approval.by"),
    ("reject", "mallory", InputError, "not in promotion.approval.by"),
    ("approve", "ann", InputError, "has approved already"),
    ("approve", "author", InputError, "author of the configuration"),
])
def test_who_may_not_approve_writes_nothing(
    world: World, action: str, who: str, error: type[Exception], message: str
) -> None:
    waiting = ApprovedRun(world, "a", demand(required=2, by=["ann", "bob", "author"]))
    waiting.promote()
    waiting.say("approve", "ann")
    before = world.store.keys("approvals/")
    with pytest.raises(error, match=message):
        waiting.say(action, who)
    assert world.store.keys("approvals/") == before
    assert waiting.promote().verdict == "awaiting approval"


def test_what_was_not_asked_for_cannot_be_approved(world: World) -> None:
    refused = Decision(
        passed=False, stopped_by="gate", summary="Refused.",
        checks=(Check(name="harm", passed=False, value=0.5, threshold=0.1, n=300, reason="too harmful"),),
    )
    run = ApprovedRun(world, "a", demand(), decision=refused)
    with pytest.raises(StageError, match="gate refused"):
        run.promote()
    with pytest.raises(InputError, match=r"run a asked for no approval of version 1 of 'm'\. The gate said: refused"):
        run.say("approve", "ann")
    with pytest.raises(InputError, match="knows no version 9 of 'm'"):
        sign_off.standing(world.store, "m", "9")
    world.run("b").promote()
    with pytest.raises(InputError, match="promoted without approval"):
        sign_off.standing(world.store, "m", "2")
    assert world.store.keys("approvals/") == []


def test_another_promotion_meanwhile_voids_approvals(world: World) -> None:
    slow = ApprovedRun(world, "slow", demand(required=2))
    slow.promote()
    slow.say("approve", "ann")
    world.run("quick").promote()
    before = world.store.keys("approvals/")
    with pytest.raises(ConflictError, match="promotion of run quick"):
        slow.say("approve", "bob")
    assert world.store.keys("approvals/") == before
    with pytest.raises(StageError, match="champion is now the promotion of run quick"):
        slow.promote()
    assert world.history == [("promote", "quick", "2")]


def test_approvals_are_void_after_a_rollback_to_the_same_champion(world: World) -> None:
    world.run("first").promote()
    slow = ApprovedRun(world, "slow", demand())
    slow.promote()
    slow.say("approve", "ann")
    world.run("other").promote()
    world.roll_back()  # the champion is again what the gate compared with
    assert slow.promote().verdict == "awaiting approval"
    assert [entry.action for entry in approvals.entries(world.store, "m", slow.version)] == [
        "request", "approve", "request"
    ]
    slow.say("approve", "ann")
    assert slow.promote().verdict == "promoted"


def test_another_decision_or_threshold_voids_approvals(world: World) -> None:
    run = ApprovedRun(world, "a", demand())
    run.promote()
    run.say("approve", "ann")
    run.decide(PASSED.model_copy(update={"summary": "All checks passed, again."}))
    assert run.promote().verdict == "awaiting approval"
    run.say("approve", "ann")
    run.decide(PASSED, gate={"gate": {"harm": {"max": 0.9}}})
    assert run.promote().verdict == "awaiting approval"
    assert world.history == []


def test_an_expired_request_is_told_and_asked_again(world: World) -> None:
    run = ApprovedRun(world, "a", demand(expires="1h"))
    run.promote()
    run.say("approve", "ann")
    key = "approvals/m/1/000001.json"
    old = json.loads(world.store.get(key))
    past = datetime.now(UTC) - timedelta(hours=2)
    old |= {"created": approvals.stamp(past), "expires": approvals.stamp(past + timedelta(hours=1))}
    world.store.put(key, json.dumps(old).encode())
    before = world.store.keys("approvals/")
    with pytest.raises(InputError, match="has expired"):
        run.say("approve", "bob")
    assert world.store.keys("approvals/") == before
    assert run.promote().verdict == "awaiting approval"
    assert state(run) == "waiting"


def test_a_rejection_ends_it(world: World) -> None:
    run = ApprovedRun(world, "a", demand())
    run.promote()
    assert run.say("reject", "bob", "not <b>yet</b>").review.state == "rejected"
    with pytest.raises(InputError, match=r"was rejected by bob: not <b>yet</b> "):
        run.say("approve", "ann")
    result = run.promote()
    assert result.verdict == "rejected"
    assert tags(world.settings, "1")["thinksafe.approval"] == "rejected"
    assert world.history == []
    other = ApprovedRun(world, "b", demand())
    other.promote()
    other.say("approve", "ann")
    assert other.promote().verdict == "promoted"


def test_the_digest_that_a_person_saw_must_be_the_one_asked_about(world: World) -> None:
    run = ApprovedRun(world, "a", demand())
    run.promote()
    digest = sign_off.standing(world.store, "m", "1").subject.decision
    for wrong in ("0" * 64, digest[:7], "x", digest + "0"):
        with pytest.raises(InputError, match="has the decision"):
            run.say("approve", "ann", decision=wrong)
    run.say("approve", "ann", decision=digest[:12])
    assert state(run) == "approved"


def test_two_approvers_at_once_are_both_kept_and_two_promotions_promote_once(world: World) -> None:
    run = ApprovedRun(world, "a", demand(required=2))
    run.promote()
    errors: list[Exception] = []
    identity = threading.local()

    def approve(name: str, barrier: threading.Barrier) -> None:
        identity.value = Identity(name, "")
        barrier.wait()
        try:
            sign_off.state_opinion(world.store, "m", "1", "approve", "fine")
        except Exception as error:
            errors.append(error)

    def promote(barrier: threading.Barrier) -> None:
        barrier.wait()
        try:
            run.promote()
        except Exception as error:
            errors.append(error)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sign_off, "identity", lambda _: identity.value)
        together(lambda barrier: approve("ann", barrier), lambda barrier: approve("bob", barrier))
    assert {entry.who for entry in approvals.entries(world.store, "m", "1")[1:]} == {"ann", "bob"}
    assert errors == []
    together(promote, promote, promote)
    # MLflow's tables let one of several that set an alias at once fail; its stage is started again
    assert all(isinstance(error, StageError) and "MLflow" in str(error) for error in errors)
    assert run.promote().verdict == "promoted"
    assert world.alias == "1"
    assert world.history == [("promote", "a", "1")]
    assert {use.person for use in ledger.entries(world.store, "m")[0].approvals} == {"ann", "bob"}


def together(*calls: Any) -> None:
    barrier = threading.Barrier(len(calls))
    threads = [threading.Thread(target=call, args=(barrier,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def forge(world: World, version: str, **changed: Any) -> None:
    """Write an approval by hand, as somebody with access to the store can."""
    past = approvals.entries(world.store, "m", version)
    made = past[0].model_copy(update={
        "number": len(past) + 1, "action": "approve", "who": "ann", "expires": "", **changed
    })
    world.store.put(f"approvals/m/{version}/{made.number:06d}.json", made.model_dump_json().encode())


def test_forged_approvals_do_not_count(world: World) -> None:
    run = ApprovedRun(world, "a", demand(identity="kubernetes"))
    run.promote()
    subject = approvals.entries(world.store, "m", "1")[0].subject
    forge(world, "1")  # nobody confirmed it
    forge(world, "1", who="mallory", confirmed_by=API)
    forge(world, "1", confirmed_by=API, subject=subject.model_copy(update={"decision": "0" * 64}))
    forge(world, "1", confirmed_by=API, subject=subject.model_copy(update={"candidate": "other"}))
    assert run.promote().verdict == "awaiting approval"
    standing = sign_off.standing(world.store, "m", "1")
    assert (standing.review.counted, len(standing.review.ignored)) == ((), 4)
    run.say("approve", "bob", confirmed_by=API)
    assert run.promote().verdict == "promoted"


def test_a_copied_approval_of_another_version_stops_everything(world: World) -> None:
    first, second = ApprovedRun(world, "a", demand()), ApprovedRun(world, "b", demand())
    first.promote()
    second.promote()
    first.say("approve", "ann")
    world.store.put("approvals/m/2/000002.json", world.store.get("approvals/m/1/000002.json"))
    with pytest.raises(StoreError, match=r"approvals/m/2/000002\.json is entry 2 about version 1"):
        second.promote()
    assert world.history == []


def test_a_request_that_names_another_run_is_not_approved(world: World) -> None:
    first, second = ApprovedRun(world, "a", demand()), ApprovedRun(world, "b", demand())
    first.promote()
    second.promote()
    request = approvals.entries(world.store, "m", "2")[0]
    forged = request.model_copy(update={"subject": request.subject.model_copy(update={"run_id": "a"})})
    world.store.put("approvals/m/2/000001.json", forged.model_dump_json().encode())
    with pytest.raises(DamagedError, match="names the run a"):
        second.say("approve", "ann")


def test_a_waiver_needs_its_persons_approval_where_waivers_are_for_approvers(world: World) -> None:
    waived = Decision(
        passed=True, stopped_by=None, summary="Passed with waivers.", waivers_on="2026-01-01",
        checks=(Check(name="harm", passed=False, status="waived", value=0.5, threshold=0.1, n=9, reason="much"),),
        waivers=(WaiverUse(check="harm", person="bob", reason="known", expires="2999-12-31", effect="applied"),),
    )
    run = ApprovedRun(world, "a", demand(waivers="approvers"), decision=waived)
    run.promote()
    assert run.say("approve", "ann").review.state == "waiting"
    assert run.promote().verdict == "awaiting approval"
    assert run.say("approve", "bob").review.state == "approved"
    assert run.promote().verdict == "promoted"


def test_the_webhook_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinksafe.stages import approval
    from thinksafe.webhook import Answer

    told: list[dict[str, Any]] = []

    def post(variable: str, message: dict[str, Any]) -> Answer:
        told.append({"variable": variable, **message})
        return Answer(failed=False, words="called: status 200")

    monkeypatch.setattr(approval, "post", post)
    settings = demand().model_copy(update={"webhook_env": "SIGN_OFF"})
    run = ApprovedRun(world, "a", settings)
    assert run.promote().details.approval["webhook"] == "called: status 200"  # type: ignore[attr-defined]
    assert (told[0]["variable"], told[0]["event"], told[0]["version"], told[0]["missing"]) == (
        "SIGN_OFF", "thinksafe.awaiting_approval", "1", 1
    )
    run.say("reject", "ann", "no")
    run.promote()
    assert told[1]["event"] == "thinksafe.rejected"
    run2 = ApprovedRun(world, "b", settings)
    run2.promote()
    run2.say("approve", "ann")
    run2.promote()
    assert [message["run_id"] for message in told] == ["a", "a", "b"]
