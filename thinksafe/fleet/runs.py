"""What the records of a run say for the fleet: which model it was about, how it ended, and why it failed."""

from __future__ import annotations

import re

from thinksafe.fleet.facts import Failure, Pipeline, RunNote
from thinksafe.report.summary import summarise
from thinksafe.run.details import PlanDetails
from thinksafe.run.record import StageRecord, find_record, list_records
from thinksafe.store import Store

PLANS: dict[str, Pipeline] = {"plan": "realign", "plan_evaluation": "evaluate"}
"""Pipelines by the stage that plans them; others, such as a comparison, promote and measure no champion."""
REGISTERED = re.compile(r"models:/([^@/]+)(@.+|/\d+)")


def read_note(store: Store, run_id: str) -> RunNote | None:
    """Return what there is to know of a run; None for a folder without records.

    It costs two objects for a run that has a report, and all of its records for others.
    """
    plan, report = (find_record(store, run_id, task) for task in ("plan", "report"))
    outcome = report.verdict if report is not None else ""
    started = plan.started if plan is not None else 0.0
    if not outcome or plan is None:
        found = list_records(store, run_id)
        if not found.found and not found.problems:
            return None
        outcome = outcome or summarise(found.found, run_id=run_id).outcome
        started = min((record.started for record in found.found.values()), default=0.0)
    planned = plan.read(PlanDetails) if plan is not None else PlanDetails()
    pipeline = PLANS.get(plan.stage) if plan is not None else None
    return RunNote(
        run_id=run_id, pipeline=pipeline or "realign", model=_model(planned, pipeline) if pipeline else "",
        outcome=outcome, started=started, planned=bool(planned.config),
    )


def _model(plan: PlanDetails, pipeline: Pipeline) -> str:
    """Return the registered model that a run is about."""
    own = plan.registry.get("model")
    name = own if isinstance(own, str) else ""
    if pipeline == "realign" or plan.model_name == "champion":
        return name
    found = REGISTERED.fullmatch(plan.model_name)
    return found[1] if found is not None else ""


def read_failure(store: Store, run_id: str) -> Failure:
    """Return the first failure of a run in reading order."""
    summary = summarise(list_records(store, run_id).found, run_id=run_id)
    if not summary.failures:
        return Failure(run_id, "", "A task ended without a record.", "Look at the run's report.")
    first = summary.failures[0]
    return Failure(run_id, first.task, first.error, first.action)


def planned(record: StageRecord | None) -> PlanDetails:
    """Return the plan in a record; an empty one where there is none."""
    return record.read(PlanDetails) if record is not None else PlanDetails()
