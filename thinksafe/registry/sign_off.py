"""Ask for approval, give it, and find out where a version stands, from the run's records and what people said.

Whose approval counts is what the plan of the run says, not what an entry says of itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from thinksafe.config.promotion import PromotionSettings
from thinksafe.config.sections import PromoteSection
from thinksafe.deciding.waivers import applied, decision_word
from thinksafe.digests import digest_json
from thinksafe.errors import ConflictError, DamagedError, InputError
from thinksafe.kube.identity import identity
from thinksafe.models.references import ModelReference
from thinksafe.records import Decision
from thinksafe.registry import approvals, ledger
from thinksafe.registry.approvals import Entry, Review, Rule, Subject
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.registration import Registration
from thinksafe.run.details import DecisionDetails, Details, PlanDetails, RegisterDetails
from thinksafe.run.past import records_of
from thinksafe.run.record import RESTORE, StageRecord, find_evidence
from thinksafe.store import Store

D = TypeVar("D", bound=Details)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Standing:
    """Where a version stands for which approval was asked."""

    subject: Subject
    """What the run's records and the ledger say now."""
    decision: Decision
    registration: Registration
    settings: PromotionSettings
    review: Review
    moved: LedgerEntry | None
    """The generation that promoted the version, or else the newest one, if the ledger has grown since the request;
    then its approvals are void."""


def subject_of(
    store: Store, registration: Registration, decision: Decision, champion: ModelReference
) -> Subject:
    """Return what an approval of a candidate is about.

    Args:
        store: Holds the record of the run's gate, and the ledger.
        registration: Of the candidate.
        decision: Of the gate.
        champion: What the gate compared with; may be absent.

    Raises:
        StoreError: the record of the gate is missing or damaged, or the ledger is malformed.
    """
    newest = ledger.newest(store, registration.name)
    return Subject(
        model=registration.name, version=registration.version, run_id=registration.run_id,
        candidate=registration.candidate, decision=digest_json(decision),
        gate=digest_json(_record(store, registration.run_id, "gate").section),
        champion="" if champion.absent else champion.digest, generation=newest.generation if newest is not None else 0,
    )


def rule_of(store: Store, settings: PromotionSettings, run_id: str, decision: Decision) -> Rule:
    """Return whose approvals of a run's candidate count. Raises StoreError."""
    author = _record(store, run_id, "plan").require(PlanDetails).author
    return Rule(settings.approval, author, tuple(sorted({use.person for use in applied(decision)})))


def ask(store: Store, subject: Subject, rule: Rule, summary: str) -> Review:
    """Return where a candidate stands; ask for approval if that was not done, or the request has expired.

    Args:
        store: Artifact store.
        subject: What would be promoted.
        rule: Whose approvals count.
        summary: Of the decision.

    Raises:
        StoreError: the store failed, or an entry is malformed.
    """
    found: Review | None = None

    def request(past: list[Entry]) -> Entry | None:
        nonlocal found
        now = datetime.now(UTC)
        found = approvals.review(past, subject, rule, now)
        if found.state not in ("not asked", "expired"):
            return None
        entry = Entry(
            number=len(past) + 1, action="request", subject=subject, who=ledger.actor()[:200],
            reason=" ".join(summary.split())[: approvals.REASON], created=approvals.stamp(now),
            expires=approvals.stamp(now + timedelta(seconds=rule.settings.seconds)),
        )
        found = approvals.review([*past, entry], subject, rule, now)
        return entry

    approvals.add(store, request, subject.model, subject.version)
    assert found is not None, "request was called"
    return found


def standing(
    store: Store, model: str, version: str, past: list[Entry] | None = None, now: datetime | None = None
) -> Standing:
    """Return where a version stands.

    Args:
        store: Holds the entries, the run's records and the ledger.
        model: Registered model.
        version: Its version.
        past: Entries of the version; read if None.
        now: The time; the clock's if None.

    Raises:
        ConfigError: the name is not valid for a registered model.
        InputError: nobody asked for approval of this version; the error says why where the records tell.
        StoreError: an entry, a record or the ledger is damaged.
    """
    past = approvals.entries(store, model, version) if past is None else past
    request = next((entry for entry in reversed(past) if entry.action == "request"), None)
    if request is None:
        raise _unasked(store, model, version)
    run_id = request.subject.run_id
    plan = _record(store, run_id, "plan").require(PlanDetails)
    decision = _record(store, run_id, "gate").require(DecisionDetails).decision
    registered = _record(store, run_id, "register").require(RegisterDetails).registration
    registration = _valid(Registration, registered, run_id, "register")
    if (registration.name, registration.version) != (model, version):
        raise DamagedError(
            f"The request for version {version} of {model!r} names the run {run_id}, which made version "
            f"{registration.version} of {registration.name!r}.", "Do not approve it; find out who wrote it.",
        )
    section = _valid(PromoteSection, plan.sections.get("promote"), run_id, "plan")
    if decision is None or not decision.passed or section.promotion is None:
        raise _unasked(store, model, version)
    champion = _valid(ModelReference, plan.champion, run_id, "plan")
    subject = subject_of(store, registration, decision, champion)
    rule = rule_of(store, section.promotion, run_id, decision)
    found = approvals.review(past, subject, rule, now or datetime.now(UTC))
    moved = None
    if found.state == "not asked" and subject.generation != request.subject.generation:
        since = ledger.entries(store, model)[request.subject.generation :]
        own = [entry for entry in since if entry.version == version and entry.action == "promote"]
        moved = next(iter([*own, *since[-1:]]), None)
    return Standing(subject, decision, registration, section.promotion, found, moved)


def state_opinion(
    store: Store, model: str, version: str, action: Literal["approve", "reject"], reason: str, decision: str = ""
) -> Standing:
    """Append an approval or a rejection of the person who calls, and return where the version stands then.

    Args:
        store: Artifact store.
        model: Registered model.
        version: Its version.
        action: What the person says.
        reason: Why.
        decision: Beginning of the digest of the decision that the person saw; empty takes the one that is asked about.

    Raises:
        ConfigError: nobody knows who this is, or the model's name is not valid.
        InputError: there is nothing to say about this version: it is unknown, was refused, rejected or promoted, the
            request has expired, or the person may not say it or has said it.
        ConflictError: another version was promoted meanwhile.
        StageError: the Kubernetes API does not say who this is.
        StoreError: the store failed, or something in it is damaged.
    """
    words = approvals.reason_of(reason)
    latest: Standing | None = None

    def entry(past: list[Entry]) -> Entry:
        nonlocal latest
        latest = standing(store, model, version, past)
        require_open(latest)
        if decision and (len(decision) < 8 or not latest.subject.decision.startswith(decision)):
            raise InputError(
                f"Version {version} of {model!r} has the decision {latest.subject.decision[:12]}, not "
                f"{decision[:80]!r}.", "Read its report again; --decision takes the digest, or 8 characters of it.",
            )
        rule = rule_of(store, latest.settings, latest.subject.run_id, latest.decision)
        if (objection := rule.objection(who.who, who.confirmed_by, action)) or (
            action == "approve" and (objection := _twice(latest.review, who.who))
        ):
            raise InputError(f"This does not count: {objection}.", "Nothing was written.")
        return Entry(
            number=len(past) + 1, action=action, subject=latest.subject, who=who.who, confirmed_by=who.confirmed_by,
            reason=words, created=approvals.stamp(datetime.now(UTC)),
        )

    before = standing(store, model, version)
    require_open(before)
    who = identity(before.settings.approval.identity or "system")
    approvals.add(store, entry, model, version)
    return standing(store, model, version)


def require_open(found: Standing, *, approved: bool = False) -> None:
    """Check that a version can still be promoted by approvals.

    Args:
        found: Where it stands.
        approved: Whether approvals must be complete.

    Raises:
        InputError: it was promoted or rejected, or the request is void or expired, or approvals are missing.
        ConflictError: another version was promoted meanwhile.
    """
    subject, review = found.subject, found.review
    name = f"Version {subject.version} of {subject.model!r}"
    moved = found.moved
    if moved is not None and moved.version == subject.version and moved.action == "promote":
        raise InputError(f"{name} was promoted already: {ledger.describe(moved)}.", "There is nothing to approve.")
    if moved is not None:
        raise ConflictError(
            f"The gate compared {name[0].lower()}{name[1:]} with another champion: meanwhile there was "
            f"{ledger.describe(moved)}.", "Nothing was written. Start a new run: it decides and asks again.",
        )
    if review.state == "not asked":
        raise InputError(
            f"{name} was decided on again since approval was asked for.", "Start the run again: it asks anew."
        )
    if review.state == "rejected":
        raise InputError(f"{name} was {review.words}.", "Nothing was written. Only a new run can ask again.")
    if review.state == "expired":
        raise InputError(
            f"The request for {name[0].lower()}{name[1:]} has expired: {review.words}.",
            "Nothing was written. Start the run again: it asks anew.",
        )
    if approved and review.state != "approved":
        raise InputError(f"{name} lacks approvals: {review.words}.", "Approve it with `thinksafe approve` first.")


def _twice(review: Review, who: str) -> str:
    return f"{who!r} has approved already" if who in [one.who for one in review.counted] else ""


def _unasked(store: Store, model: str, version: str) -> InputError:
    """Return the error about a version for which no approval was asked, with the reason where the store tells."""
    name = f"version {version} of {model!r}"
    for entry in ledger.entries(store, model):
        if entry.version == version:
            return InputError(f"{name[0].upper()}{name[1:]} was promoted without approval.", "Nothing was written.")
    for record in records_of(store, "register"):
        registration, run_id = record.read(RegisterDetails).registration, record.run_id
        if (registration.get("name"), registration.get("version")) != (model, version):
            continue
        gate = find_evidence(store, run_id, "gate")
        decision = gate.read(DecisionDetails).decision if gate is not None else None
        said = f"The gate said: {decision_word(decision)}." if decision is not None else "The gate has not decided yet."
        return InputError(
            f"The run {run_id} asked for no approval of {name}. {said}",
            "Nothing was written. Only what the gate passed can be approved, where promotion.approval asks for it.",
        )
    waiting = ", ".join(approvals.versions(store, model)[:10])
    return InputError(
        f"{store.root} knows no {name}.",
        f"Approval was asked for: {waiting}." if waiting else "Check the name, the version and the store.",
    )


def _record(store: Store, run_id: str, task: str) -> StageRecord:
    record = find_evidence(store, run_id, task)
    if record is None:
        raise DamagedError(f"The run {run_id} has no record of {task} in {store.root}.", RESTORE)
    return record


def _valid(model: type[M], value: Any, run_id: str, task: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise DamagedError(
            f"The record {task} of the run {run_id} holds no valid {model.__name__}.", RESTORE
        ) from error
