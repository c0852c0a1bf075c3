"""The history of a registered model: its versions with their decisions, the generations of its ledger, and approvals.

All of it is in the store. The ledger says which version was champion when. The stage records of the runs say what was
measured and decided, even for versions that were refused and never entered the ledger.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from thinksafe.deciding.waivers import decision_word
from thinksafe.measuring.statistics import Estimate
from thinksafe.records import Count, Interval, Record
from thinksafe.registry import approvals, ledger
from thinksafe.registry.approvals import Entry
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.report.summary import of_kind, reasoning_average
from thinksafe.run.details import DecisionDetails, Details, MetricsDetails, PlanDetails, RegisterDetails
from thinksafe.run.record import StageRecord, find_record
from thinksafe.store import Store
from thinksafe.store.several import several

D = TypeVar("D", bound=Details)


class Number(Record):
    """One measured share of a version."""

    name: str
    value: float
    interval: Interval
    n: Count


class Event(Record):
    """A registered version, or a generation of the ledger."""

    version: str
    run_id: str
    """Run that made the version."""
    generation: int | None
    """None for a version that was not promoted."""
    action: Literal["registered", "promote", "rollback", "withdraw", "request", "approve", "reject"]
    """``request``: its run asked for approval; ``approve`` and ``reject``: what a person said."""
    decision: str
    """``passed``, ``passed with waivers`` or ``refused``; empty if the gate's record is missing."""
    harm: Number | None
    """The highest harm ratio of its benchmarks, for the part that the gate reads."""
    reasoning: Number | None
    """Average pass@1."""
    who: str
    created: str
    """ISO 8601, UTC."""
    until: str
    """When the next generation followed; empty for the newest, and for versions that were never champion."""
    champion: bool
    """Whether this is the newest generation and not a withdrawal."""
    deployed: str = ""
    """Outcome of the run's deploy stage, if it had one, and its time (ISO 8601, UTC)."""
    reason: str = ""
    """Of an approval or a rejection."""


def timeline(store: Store, model: str) -> list[Event]:
    """Return the events of a model, oldest first; empty if the store has none.

    Missing or malformed records leave their columns empty; the ledger entries are shown without them.

    Raises:
        ConfigError: the name is not valid for a registered model.
        StoreError: the ledger or an approval is malformed, or the store failed.
    """
    entries = ledger.entries(store, model)
    promoted = {entry.run_id for entry in entries}
    until = [entry.created for entry in entries[1:]] + [""]
    found = several(lambda pair: _promoted(store, *pair), zip(entries, until, strict=False))
    others = (run_id for run_id in sorted(store.folders("runs/")) if run_id not in promoted)
    found += filter(None, several(lambda run_id: _registered(store, run_id, model), others))
    said = several(lambda version: approvals.entries(store, model, version), approvals.versions(store, model))
    found += [_said(entry) for of in said for entry in of]
    return sorted(found, key=lambda event: (event.created, event.generation or 0, event.version))


def _promoted(store: Store, entry: LedgerEntry, until: str) -> Event:
    return Event(
        version=entry.version, run_id=entry.run_id, generation=entry.generation, action=entry.action, who=entry.who,
        created=entry.created, until=until, champion=not until and entry.action != "withdraw",
        **_measured(store, entry.run_id),
    )


def _registered(store: Store, run_id: str, model: str) -> Event | None:
    """Return that a run registered a version of the model; None if it did not."""
    record = _record(store, run_id, "register")
    registration = record.read(RegisterDetails).registration if record is not None else {}
    if record is None or registration.get("name") != model:
        return None
    return Event(
        version=str(registration.get("version", "")), run_id=record.run_id, generation=None, action="registered",
        who="", created=_utc(record.started), until="",
        champion=False, **_measured(store, record.run_id),
    )


def _said(entry: Entry) -> Event:
    unverified = "" if entry.confirmed_by or entry.action == "request" else " (unverified)"
    return Event(
        version=entry.subject.version, run_id=entry.subject.run_id, generation=None, action=entry.action, decision="",
        harm=None, reasoning=None, who=f"{entry.who}{unverified}", created=entry.created, until="", champion=False,
        reason="" if entry.action == "request" else entry.reason,
    )


def _measured(store: Store, run_id: str) -> dict[str, Any]:
    decision = _details(store, run_id, "gate", DecisionDetails).decision
    metrics = _details(store, run_id, "metrics-candidate", MetricsDetails).metrics
    part = _details(store, run_id, "plan", PlanDetails).part
    found: dict[str, Any] = {
        "decision": decision_word(decision) if decision is not None else "", "harm": None, "reasoning": None
    }
    if rollout := _record(store, run_id, "deploy"):
        found["deployed"] = f"{rollout.verdict or 'done'} {_utc(rollout.started + rollout.seconds)}"
    if metrics is not None:
        if harms := of_kind(metrics, "harm", part):
            worst = max(harms, key=lambda metric: metric.value)
            found["harm"] = _number(worst.benchmark, worst)
        if average := reasoning_average(metrics):
            names = [metric.benchmark for metric in of_kind(metrics, "reasoning")]
            found["reasoning"] = _number(names[0] if len(names) == 1 else f"average of {len(names)}", average)
    return found


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _number(name: str, of: Estimate | Any) -> Number:
    return Number(name=name, value=of.value, interval=of.interval, n=int(of.n))


def _record(store: Store, run_id: str, task: str) -> StageRecord | None:
    record = find_record(store, run_id, task)
    return record if record is not None and record.succeeded else None


def _details(store: Store, run_id: str, task: str, model: type[D]) -> D:
    record = _record(store, run_id, task)
    return record.read(model) if record is not None else model()
