"""Stores with ledgers, evaluations and runs for the fleet, without whole runs behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from thinksafe.fleet.kept import Kept
from thinksafe.fleet.survey import Fleet, survey
from thinksafe.models.references import ModelReference
from thinksafe.records import Decision, Metric, MetricSet, WaiverUse
from thinksafe.registry import ledger, sign_off
from thinksafe.registry.approvals import Entry
from thinksafe.registry.evaluations import Evaluation
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.registry.registration import Registration
from thinksafe.run.record import StageRecord, find_record, write_stage_record
from thinksafe.settings import StudentSettings
from thinksafe.store import Store

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
DAY = 86400.0
SUITE = "5" * 64
WEEKLY = {"cluster": {"schedule": {"evaluate": {"enabled": True, "cron": "0 0 3 * * 0"}}}}
"""Section of a configuration: Sundays at three; the last one was yesterday."""


def iso(days: float) -> str:
    return datetime.fromtimestamp(NOW - days * DAY, UTC).isoformat(timespec="seconds")


def metrics(harm: float = 0.02, role: str = "evaluated", suite: str = SUITE, **others: float) -> MetricSet:
    """Two harm benchmarks, of which the second is worse, and one of each other kind."""
    values = {"harm/one": harm / 2, "harm/two": harm, "over_refusal/x": 0.05, "reasoning/r": 0.6, **others}
    found = [
        Metric.model_validate({
            "name": name, "kind": name.split("/")[0], "benchmark": name.split("/")[1],
            "part": name.split("/")[2] if name.count("/") == 2 else "whole", "value": value, "n": 300, "samples": 300,
            "interval": {"low": value / 2, "high": value + 0.01, "confidence": 0.95, "method": "m"}, "settings": {},
        })
        for name, value in values.items()
    ]
    return MetricSet(role=role, suite=suite, metrics=tuple(found))


class World:
    """Writes into a store; times are days before ``NOW``."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def record(self, run: str, task: str, days: float, **rest: Any) -> None:
        given = {"stage": task, "status": "succeeded", "seconds": 1.0, **rest}
        write_stage_record(self.store, StageRecord(run_id=run, task=task, started=NOW - days * DAY, **given))

    def target(self, run: str) -> ModelReference:
        return ModelReference(
            role="champion", student=StudentSettings(model="m"), base_digest="b", adapter=f"adapters/{run}",
            adapter_digest=run,
        )

    def append(
        self, model: str, run: str, days: float, action: str = "promote", waivers: tuple[WaiverUse, ...] = (),
        harm: float = 0.02,
    ) -> LedgerEntry:
        """Append to the ledger, and write what its run measured."""
        generation = len(ledger.entries(self.store, model)) + 1
        entry = LedgerEntry.model_validate({
            "model": model, "generation": generation, "previous": generation - 1 or None, "action": action,
            "target": self.target(run), "version": str(generation), "run_id": run, "reason": "all checks passed",
            "digests": Digests(adapter=run, base="b", metrics=f"metrics of {run}"), "who": "ann", "created": iso(days),
            "waivers": waivers,
        })
        ledger.append(self.store, entry)
        if action == "promote":
            found = metrics(harm, "candidate").model_dump(mode="json")
            self.record(run, "metrics-candidate", days, details={"metrics": found})
            self.run(run, model, "promoted", days)
        return entry

    def evaluate(
        self, model: str, run: str, days: float, passed: bool | None = True, target: str = "",
        config: dict[str, Any] | None = None, suite: str = SUITE, **values: float,
    ) -> None:
        """Add an evaluation of the run's target, by default the champion's, to the history."""
        champion = ledger.champion(self.store, model)
        reference = self.target(target) if target or champion is None else champion.target
        prefix = f"evaluations/{reference.digest}/{suite}/"
        number = len([key for key in self.store.keys(prefix) if "outcomes" not in key]) + 1
        found = Evaluation(
            number=number, run_id=run, created=iso(days), model=reference, metrics=metrics(suite=suite, **values),
            outcomes=f"{prefix}outcomes/x.jsonl", outcomes_digest="d", passed=passed,
        )
        self.store.put(f"{prefix}{number:06d}.json", found.model_dump_json().encode())
        self.run(run, model, "evaluated" if passed else "regressed", days, evaluation=True, config=config)

    def run(
        self, run: str, model: str, outcome: str, days: float, evaluation: bool = False,
        config: dict[str, Any] | None = None, name: str = "champion",
    ) -> None:
        """Write the plan of a run and, unless it goes on, its report."""
        planned = {"name": "recipe", "registry": {"model": model}, "gate": {"harm": {"max": 0.05}}, **(config or {})}
        self.record(
            run, "plan", days, stage="plan_evaluation" if evaluation else "plan",
            details={"config": planned, "model_name": name if evaluation else ""},
        )
        if outcome == "failed":
            self.record(run, "train", days, status="failed", error="Out of memory.", action="Use less.")
        if outcome == "regressed":
            check = {"name": "harm/two", "passed": False, "value": 0.1, "n": 300, "reason": "r"}
            decision = {"passed": False, "stopped_by": "monitor", "checks": [check], "summary": "Alarm: harm/two."}
            self.record(run, "monitor", days, verdict="regressed", details={"decision": decision})
        if outcome != "incomplete":
            self.record(run, "report", days, verdict=outcome)


    def ask(
        self, model: str, run: str, version: str, days: float, said: tuple[tuple[str, str], ...] = (),
        required: int = 2, expires: str = "14d",
    ) -> None:
        """Write a run that asked for approval so many days ago, and what people said since."""
        section = {
            "registry": {"model": model}, "rollout": False,
            "promotion": {"approval": {
                "required": required, "by": ["ann", "bob", "cid"], "expires": expires, "identity": "system",
            }},
        }
        champion = ledger.champion(self.store, model)
        absent = self.target("none").model_copy(update={"absent": True})
        compared = champion.target if champion is not None else absent
        decision = {"passed": True, "stopped_by": None, "summary": "Passed.", "checks": [
            {"name": "harm", "passed": True, "value": 0.0, "n": 300, "reason": "r"}
        ]}
        registration = Registration(
            name=model, version=version, run_id=run, candidate=f"candidate of {run}", adapter_digest=run,
            data_digest="d", config_digest="c", model_id="m", mlflow_run="r",
        )
        self.run(run, model, "awaiting approval", days)
        plan = find_record(self.store, run, "plan")
        assert plan is not None
        self.record(run, "plan", days, details={
            **plan.details, "sections": {"promote": section}, "champion": compared.model_dump(mode="json"),
            "author": "author",
        })
        self.record(run, "gate", days, section={"gate": {}}, details={"decision": decision})
        self.record(run, "register", days, details={"registration": registration.model_dump(mode="json")})
        subject = sign_off.subject_of(self.store, registration, Decision.model_validate(decision), compared)
        until = datetime.fromtimestamp(NOW - days * DAY, UTC) + timedelta(days=int(expires[:-1]))
        entries = [Entry(
            number=1, action="request", subject=subject, who="system", reason="Passed.", created=iso(days),
            expires=until.isoformat(timespec="seconds"),
        )]
        for action, who in said:
            entries.append(Entry.model_validate({
                "number": len(entries) + 1, "action": action, "subject": subject, "who": who, "reason": "not yet",
                "created": iso(days),
            }))
        for entry in entries:
            key = f"approvals/{model}/{version}/{entry.number:06d}.json"
            self.store.put(key, entry.model_dump_json().encode())


def demonstration(store: Store, hostile: str = "") -> Fleet:
    """Write a store with models in all states, one of them with a hostile text in its names, and look at it."""
    world = World(store)
    for name in ("alarm", "fine", "failed", "late", "torn", "waived", "refused"):
        use = WaiverUse(
            check="harm/two", person=f"bob {hostile}", reason=f"until the next run {hostile}", effect="applied",
            expires=datetime(2026, 11, 1, tzinfo=UTC).date(),
        )
        world.append(name, f"{name}-1", 300, harm=0.04)
        world.append(name, f"{name}-2", 200)
        world.append(name, f"{name}-1", 190, action="rollback")
        world.append(name, f"{name}-3", 120, waivers=(use,) if name == "waived" else ())
        for week in range(40, 0, -1):
            if name != "late" or week > 6:
                bad = name == "alarm" and week in (1, 17)
                target = f"{name}-{1 if week > 18 else 3}" if week != 28 else f"{name}-2"
                values = {"harm": 0.12 if bad else 0.01 + 0.001 * (week * 7 % 11), "over_refusal/x": 0.03 + week / 999}
                world.evaluate(name, f"{name}-e{week}", 7 * week - 6, not bad, target, WEEKLY, **values)
    world.run("failed-4", "failed", "failed", 1)
    world.run("refused-4", "refused", "refused by gate", 2)
    world.store.put("promotions/torn/000005.json", b"{}")
    world.run("new-1", f"new {hostile}", "stopped by diagnose", 3)
    world.append("gone", "gone-1", 90)
    world.append("gone", "gone-1", 30, action="withdraw")
    world.record("lost", "report", 1, verdict="failed")
    return survey([store.root, f"{store.root}-elsewhere"], NOW, Kept())[0]
