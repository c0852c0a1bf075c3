"""What entries come to: whose approvals count, for what, and until when."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from approval_entries import NOW, OTHER, PEOPLE, RULE, SETTINGS, SUBJECT, entry
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from thinksafe.config.promotion import ApprovalSettings
from thinksafe.errors import ConfigError, InputError, StoreError
from thinksafe.registry import approvals
from thinksafe.registry.approvals import Entry, Rule, review, stamp
from thinksafe.store.local import LocalStore

REQUEST = entry("request", "system")


def test_enough_different_people_approve() -> None:
    found = [REQUEST, entry("approve", "ann"), entry("approve", "bob")]
    states = [review(found[:count], SUBJECT, RULE, NOW).state for count in range(4)]
    assert states == ["not asked", "waiting", "waiting", "approved"]
    assert [use.person for use in review(found, SUBJECT, RULE, NOW).uses] == ["ann", "bob"]
    assert review(found[:2], SUBJECT, RULE, NOW).words == "1 of 2 approvals, by ann; open until 2026-03-03 12:00 UTC"


@given(
    st.lists(st.tuples(
        st.sampled_from(["ann", "bob", "cid", "author", "stranger", "Ann", "ann "]), st.booleans(), st.booleans(),
    ), max_size=12),
    st.integers(1, 3), st.randoms(use_true_random=False),
)
def test_in_any_order_each_person_counts_once_and_no_stranger(
    said: list[tuple[str, bool, bool]], required: int, random: Any
) -> None:
    settings = ApprovalSettings(required=required, by=PEOPLE, expires="2d", identity="system", authors=())
    rule = Rule(settings, "author", ())
    made = [
        entry("approve", who, hours=72 if late else 1, subject=OTHER if other else SUBJECT)
        for who, late, other in said
    ]
    counting = {who for who, late, other in said if who in PEOPLE and not late and not other}
    for _ in range(3):
        random.shuffle(made)
        found = review([REQUEST, *made], SUBJECT, rule, NOW + timedelta(hours=2))
        assert {one.who for one in found.counted} == counting
        assert len(found.counted) == len(counting)
        assert len(found.counted) + len(found.ignored) == len(made)
        assert found.missing == max(required - len(counting), 0)
        assert found.state == ("approved" if len(counting) >= required else "waiting")


@pytest.mark.parametrize("field", ["candidate", "decision", "gate", "champion", "generation", "run_id"])
def test_another_candidate_decision_threshold_or_champion_voids_it(field: str) -> None:
    found = [REQUEST, entry("approve", "ann"), entry("approve", "bob")]
    other = SUBJECT.model_copy(update={field: 7 if field == "generation" else "other"})
    assert review(found, other, RULE, NOW).state == "not asked"
    # asked again for the other one, what was said about the first does not count
    asked = entry("request", "system", subject=other)
    after = review([*found, asked], other, RULE, NOW)
    assert (after.state, after.counted) == ("waiting", ())
    # and the first request stands as it did
    assert review([*found, asked], SUBJECT, RULE, NOW).state == "approved"


def test_after_its_end_a_request_and_its_approvals_count_no_more() -> None:
    found = [REQUEST, entry("approve", "ann"), entry("approve", "bob", hours=47)]
    assert review(found, SUBJECT, RULE, NOW + timedelta(hours=48)).state == "approved"
    late = review(found, SUBJECT, RULE, NOW + timedelta(hours=48, seconds=1))
    assert (late.state, late.words) == ("expired", "2 of 2 approvals, by ann, bob; expired on 2026-03-03 12:00 UTC")
    again = entry("request", "system", hours=50, expires=stamp(NOW + timedelta(hours=98)))
    assert review([*found, again], SUBJECT, RULE, NOW + timedelta(hours=51)).counted == ()


def test_a_request_that_says_it_never_ends_ends_as_configured() -> None:
    forged = entry("request", "system", expires=stamp(NOW + timedelta(days=900)))
    found = [forged, entry("approve", "ann"), entry("approve", "bob")]
    assert review(found, SUBJECT, RULE, NOW + timedelta(days=3)).state == "expired"


def test_a_rejection_is_final_whatever_follows() -> None:
    found = [
        REQUEST, entry("approve", "ann"), entry("reject", "bob", reason="no"), entry("approve", "cid"),
        entry("request", "system"), entry("approve", "ann"), entry("approve", "cid"),
    ]
    after = review(found, SUBJECT, RULE, NOW)
    assert (after.state, after.words) == ("rejected", "rejected by bob: no (2026-03-01)")
    stranger = [REQUEST, entry("reject", "mallory"), entry("approve", "ann"), entry("approve", "bob")]
    assert review(stranger, SUBJECT, RULE, NOW).state == "approved"


def test_four_eyes() -> None:
    settings = ApprovalSettings(required=1, by=PEOPLE, authors=("bob",), identity="system")
    rule = Rule(settings, "ann", ())
    for who in ("ann", "bob"):
        found = review([REQUEST, entry("approve", who)], SUBJECT, rule, NOW)
        assert (found.state, len(found.ignored)) == ("waiting", 1)
        assert "author" in found.ignored[0][1]
        # an author may stop what others would approve
        assert review([REQUEST, entry("reject", who)], SUBJECT, rule, NOW).state == "rejected"
    assert review([REQUEST, entry("approve", "cid")], SUBJECT, rule, NOW).state == "approved"
    off = Rule(settings.model_copy(update={"distinct_from_author": False}), "ann", ())
    assert review([REQUEST, entry("approve", "ann")], SUBJECT, off, NOW).state == "approved"


def test_where_kubernetes_must_confirm_a_bare_name_counts_for_nothing() -> None:
    rule = Rule(SETTINGS.model_copy(update={"required": 1, "identity": "kubernetes"}), "author", ())
    bare = review([REQUEST, entry("approve", "ann"), entry("reject", "bob")], SUBJECT, rule, NOW)
    assert (bare.state, len(bare.ignored)) == ("waiting", 2)
    confirmed = entry("approve", "ann", confirmed_by="https://cluster:6443")
    assert review([REQUEST, confirmed], SUBJECT, rule, NOW).state == "approved"


def test_a_waiver_by_an_approver_needs_that_persons_approval() -> None:
    rule = Rule(SETTINGS.model_copy(update={"required": 1, "waivers": "approvers"}), "author", ("cid",))
    found = review([REQUEST, entry("approve", "ann")], SUBJECT, rule, NOW)
    assert (found.state, found.missing, found.persons) == ("waiting", 0, ("cid",))
    assert "cid must approve the waiver" in found.words
    assert review([REQUEST, entry("approve", "cid")], SUBJECT, rule, NOW).state == "approved"


@pytest.mark.parametrize("changed", [
    {"who": ""}, {"who": "x" * 201}, {"reason": ""}, {"reason": "x" * 1001}, {"created": "yesterday"},
    {"created": "2026-03-01T12:00:00"}, {"expires": "2026-03-01T12:00:00+00:00"},
    {"number": 0}, {"extra": 1}, {"subject": SUBJECT.model_dump() | {"version": "../../x"}},
    {"subject": SUBJECT.model_dump() | {"run_id": "../x"}},
])
def test_what_is_no_entry(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        entry("approve", **changed)


@pytest.mark.parametrize("text", ["", " \n ", "x" * 1001, "a\x1b[2Jb", "a\u202eb", "x" * 10_000])
def test_a_reason_is_one_printable_line(text: str) -> None:
    with pytest.raises(InputError, match="reason"):
        approvals.reason_of(text)
    assert approvals.reason_of(" reviewed\n by  <b>us</b> ") == "reviewed by <b>us</b>"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def _write(store: LocalStore, *found: Entry) -> None:
    for number, one in enumerate(found, 1):
        text = one.model_copy(update={"number": number}).model_dump_json()
        store.put(f"approvals/m/3/{number:06d}.json", text.encode())


def test_racing_writers_are_all_kept(store: LocalStore) -> None:
    _write(store, REQUEST)
    barrier = threading.Barrier(8)

    def approve(who: str) -> None:
        barrier.wait()
        approvals.add(store, lambda past: entry("approve", who, number=len(past) + 1), "m", "3")

    threads = [threading.Thread(target=approve, args=(f"person-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = approvals.entries(store, "m", "3")
    assert [one.number for one in found] == list(range(1, 10))
    assert {one.who for one in found[1:]} == {f"person-{number}" for number in range(8)}


@pytest.mark.parametrize("damage", [
    b"{", b"{}", entry("approve", number=9).model_dump_json().encode(),
    entry("approve", number=2, subject=SUBJECT.model_copy(update={"version": "4"})).model_dump_json().encode(),
    entry("approve", number=2, subject=SUBJECT.model_copy(update={"model": "other"})).model_dump_json().encode(),
])
def test_what_does_not_belong_there_is_named_and_nothing_is_counted(store: LocalStore, damage: bytes) -> None:
    _write(store, REQUEST)
    store.put("approvals/m/3/000002.json", damage)
    with pytest.raises(StoreError, match=r"approvals/m/3/000002\.json"):
        approvals.entries(store, "m", "3")


def test_a_removed_entry_is_noticed(store: LocalStore) -> None:
    _write(store, REQUEST, entry("reject", "ann"), entry("approve", "bob"))
    store.delete("approvals/m/3/000002.json")
    with pytest.raises(StoreError, match=r"lacks .*000002\.json"):
        approvals.entries(store, "m", "3")


def test_names_and_versions_that_are_none(store: LocalStore) -> None:
    for version in ("", "x", "../1", "-1", "1.0", "0", "007", "\u00b2", "9" * 19):
        with pytest.raises(InputError, match="not a version"):
            approvals.entries(store, "m", version)
    with pytest.raises(ConfigError, match="registered model name"):
        approvals.entries(store, "../m", "1")


def test_versions_newest_first(store: LocalStore) -> None:
    for version in ("2", "10", "9"):
        store.put(f"approvals/m/{version}/000001.json", b"")
    assert approvals.versions(store, "m") == ["10", "9", "2"]
    assert approvals.versions(store, "other") == []


@pytest.mark.parametrize(("changed", "message"), [
    ({"required": 4, "by": PEOPLE}, "by names 3 people"),
    ({"required": 1}, "by names 0 people"),
    ({"required": 1, "by": ["ann", "ann"]}, "twice"),
    ({"required": 2, "by": ["ann", "bob"], "authors": ["ann"]}, "by names 1 people"),
    ({"required": 1, "by": ["ann"], "expires": "soon"}, "expires"),
    ({"required": 1, "by": ["a\nb"]}, "by"),
    ({"required": -1}, "required"),
])
def test_settings_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ApprovalSettings.model_validate(changed)
