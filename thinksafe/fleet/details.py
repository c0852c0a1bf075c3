"""What takes another look at the store: how the last run of a model was configured, what alarms and failures say."""

from __future__ import annotations

from datetime import UTC, datetime

from thinksafe.errors import InputError, StoreError
from thinksafe.fleet.facts import PIPELINES, ModelFacts, Pipeline, Point, Waiting, moment
from thinksafe.fleet.runs import planned, read_failure
from thinksafe.registry import sign_off
from thinksafe.report.summary.model import dig
from thinksafe.run.details import MonitorDetails, RegisterDetails
from thinksafe.run.record import find_evidence, find_record
from thinksafe.store import Store

SWITCHES: dict[Pipeline, tuple[str, ...]] = {
    "realign": ("cluster", "schedule"), "evaluate": ("cluster", "schedule", "evaluate"),
}
"""Where the configuration says when a pipeline runs."""


ASKED = frozenset({"awaiting approval", "rejected"})
"""Outcomes of runs that asked people."""
MOST = 10
"""Runs of a model that are looked at for what people said."""


def add_details(store: Store, model: ModelFacts, now: float) -> None:
    """Add the configuration of the last run, the reasons of its failures and the words of its alarms."""
    points = [point for of in model.evaluations.values() for point in of]
    runs = [(note.started, note.run_id) for note in model.notes] + [(point.time, point.run_id) for point in points]
    try:
        if runs:
            _configure(store, model, max(runs)[1])
        for pipeline in PIPELINES:
            if run := failed(model, pipeline):
                model.failures.append(read_failure(store, run))
        model.waiting = waiting(store, model, now)
        for point in alarming(model):
            record = find_record(store, point.run_id, "monitor")
            decision = record.read(MonitorDetails).decision if record is not None else None
            summary = decision.summary if decision is not None else "A check failed."
            model.alarms[point.run_id] = summary.removeprefix("Alarm: ")
    except StoreError as error:
        model.problems.append(str(error))


def waiting(store: Store, model: ModelFacts, now: float) -> list[Waiting]:
    """Return the newest versions for which people were asked, oldest first, that the ledger has not left behind.

    Raises:
        StoreError: an entry or a record is damaged.
    """
    asked = [note for note in model.notes if note.outcome in ASKED][-MOST:]
    found = []
    for note in asked:
        record = find_evidence(store, note.run_id, "register")
        registration = record.read(RegisterDetails).registration if record is not None else {}
        try:
            standing = sign_off.standing(
                store, model.name, str(registration.get("version", "")), now=datetime.fromtimestamp(now, UTC)
            )
        except InputError:  # it was promoted since
            continue
        review = standing.review
        if standing.moved is None and standing.subject.run_id == note.run_id:
            request = review.request
            found.append(Waiting(
                note.run_id, standing.subject.version, review.state, review.words, review.missing,
                moment(request.created) if request is not None else None,
                moment(request.expires) if request is not None else None,
            ))
    return [one for one in found if one.state != "not asked"]


def _configure(store: Store, model: ModelFacts, run_id: str) -> None:
    plan = planned(find_evidence(store, run_id, "plan"))
    model.part = plan.part
    for measure in ("harm", "over_refusal"):
        limit = dig(plan.config, "gate", measure, "max")
        if isinstance(limit, int | float) and 0 <= limit <= 1:
            model.limits[measure] = float(limit)
    for pipeline, path in SWITCHES.items():
        cron = dig(plan.config, *path, "cron")
        if dig(plan.config, *path, "enabled") is True and isinstance(cron, str):
            model.crons[pipeline] = cron


def failed(model: ModelFacts, pipeline: Pipeline) -> str:
    """Return the newest run of a pipeline if it failed, else nothing."""
    newest = next((note for note in reversed(model.notes) if note.pipeline == pipeline), None)
    if newest is None or newest.outcome != "failed" or newest.started < (model.last_run(pipeline) or 0.0):
        return ""
    return newest.run_id


def alarming(model: ModelFacts) -> list[Point]:
    """Return the newest evaluation of the champion by each suite, if it raised the alarm.

    An alarm holds until the same suite passes or another model is champion: another suite proves nothing.
    """
    champion = model.champion
    newest: dict[str, Point] = {}
    for point in model.evaluations.get(champion.target.digest, ()) if champion is not None else ():
        if point.suite not in newest or point.time >= newest[point.suite].time:
            newest[point.suite] = point
    return [point for point in newest.values() if point.passed is False]
