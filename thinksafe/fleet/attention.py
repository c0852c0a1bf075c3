"""What needs a person: the reasons of each model, and the order of the page.

The order is that of :data:`STATES`. What users may be harmed by comes first, then what makes the page itself doubtful,
then what stopped, then what is missing, then what waits. A model stands at the place of its first reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from thinksafe.config.cron import parse
from thinksafe.fleet.details import failed
from thinksafe.fleet.facts import PIPELINES, ModelFacts, Reason, Schedule
from thinksafe.text import plural

STATES = (
    "Alarm", "Damaged", "Failed", "Waiver expired", "Overdue", "Awaiting approval", "No champion", "Not promoted",
    "In order",
)
"""States of a model, the most urgent first."""

DAY = 86400.0
OLD_DAYS = 30
"""Age of a champion's numbers that asks for an evaluation where none is scheduled."""
LONG_DAYS = 7
"""How long a run may take: no attempt of a stage starts later, by default."""

NOT_PROMOTED = frozenset({
    "rolled back", "rejected", "passed, not promoted", "refused by gate", "stopped by diagnose", "stopped by curate",
    "stopped by train",
})


def schedules(model: ModelFacts, now: float) -> list[Schedule]:
    """Return when the pipelines of a model run next, as configured.

    A start counts as missed once the one after it has passed too: runs do not overlap, so a long run may take one.
    """
    found = []
    for pipeline in PIPELINES:
        if pipeline not in model.crons:
            continue
        cron, last = model.crons[pipeline], model.last_run(pipeline)
        try:
            times = parse(cron)
            following = times.after(datetime.fromtimestamp(now, UTC)).timestamp()
            missed = None
            if last is not None:
                first = times.after(datetime.fromtimestamp(last, UTC))
                missed = first.timestamp() if times.after(first).timestamp() < now else None
        except (ValueError, OverflowError, OSError):  # what an older version or a person wrote into a record
            found.append(Schedule(pipeline, cron, None, None))
        else:
            found.append(Schedule(pipeline, cron, following, missed))
    return found


def reasons(model: ModelFacts, now: float) -> list[Reason]:
    """Return why a model needs a person, the most urgent reason first; one that says so if it does not."""
    found = [
        *(Reason("Alarm", words) for words in model.alarms.values()), *_damaged(model), *_failed(model, now),
        *_waived(model, now), *_overdue(model, now), *_awaiting(model, now), *_headless(model),
        *_not_promoted(model),
    ]
    return sorted(found, key=lambda reason: STATES.index(reason.state)) or [
        Reason("In order", "The champion's last checks held." if _checked(model) else "Nothing is known against it.")
    ]


def place(found: Iterable[Reason]) -> int:
    """Return the place of a model by its reasons, 0 for the most urgent."""
    return min(STATES.index(reason.state) for reason in found)


def _checked(model: ModelFacts) -> bool:
    newest = model.newest()
    return newest is not None and newest.passed is True


def _damaged(model: ModelFacts) -> list[Reason]:
    more = f" There are {len(model.problems) - 1} more." if len(model.problems) > 1 else ""
    return [Reason("Damaged", model.problems[0] + more)] if model.problems else []


def _failed(model: ModelFacts, now: float) -> list[Reason]:
    found = [
        Reason("Failed", f"{failure.task or 'A task'}: {failure.error} {failure.action}".strip())
        for failure in model.failures
    ]
    for pipeline in PIPELINES:
        newest = next((note for note in reversed(model.notes) if note.pipeline == pipeline), None)
        if newest is not None and newest.outcome == "incomplete" and now - newest.started > LONG_DAYS * DAY:
            found.append(Reason("Failed", f"The run {newest.run_id} has not ended for {ago(newest.started, now)}."))
    return found


def _waived(model: ModelFacts, now: float) -> list[Reason]:
    today = datetime.fromtimestamp(now, UTC).date()
    uses = model.champion.waivers if model.champion is not None else ()
    return [
        Reason("Waiver expired", f"The champion fails {use.check}, which {use.person} waived until {use.expires}.")
        for use in uses if use.effect == "applied" and use.expires < today
    ]


def _overdue(model: ModelFacts, now: float) -> list[Reason]:
    found = [
        Reason("Overdue", f"The {NAMES[one.pipeline]} of {day(one.overdue)} and the one after it did not run.")
        for one in schedules(model, now) if one.overdue is not None and not _running(model, one.pipeline)
    ]
    newest = model.newest()
    if newest is not None and "evaluate" not in model.crons and now - newest.time > OLD_DAYS * DAY:
        found.append(Reason("Overdue", f"The champion was last measured {ago(newest.time, now)} ago."))
    return found


def _awaiting(model: ModelFacts, now: float) -> list[Reason]:
    found = []
    for one in model.waiting:
        since = f"Version {one.version} has awaited approval since {day(one.since)}"
        if one.state == "waiting":
            left = "" if one.expires is None else f", for {ago(now, one.expires)} more"
            found.append(Reason("Awaiting approval", f"{since}: {one.words}{left}."))
        elif one.state == "approved":
            words = f"Version {one.version} is approved and not promoted: {one.words}."
            found.append(Reason("Awaiting approval", words))
        elif one.state == "expired":
            found.append(Reason("Not promoted", f"{since}, in vain: {one.words}."))
        elif one.state == "rejected":
            found.append(Reason("Not promoted", f"Version {one.version} was {one.words}."))
    return found


def _running(model: ModelFacts, pipeline: str) -> bool:
    newest = next((note for note in reversed(model.notes) if note.pipeline == pipeline), None)
    return newest is not None and newest.outcome == "incomplete"


def _headless(model: ModelFacts) -> list[Reason]:
    if model.champion is not None or model.problems:
        return []
    if model.entries:
        last = model.entries[-1]
        return [Reason("No champion", f"Version {last.version} was withdrawn: {last.reason}")]
    return [Reason("No champion", "Nothing has been promoted yet.")]


def _not_promoted(model: ModelFacts) -> list[Reason]:
    newest = next((
        note for note in reversed(model.notes) if note.pipeline == "realign" and note.outcome != "nothing to do"
    ), None)
    if newest is None or newest.outcome not in NOT_PROMOTED or failed(model, "realign"):
        return []
    if newest.run_id in [one.run_id for one in model.waiting]:
        return []
    words = {"rolled back": "promoted, failed once served and was rolled back"}.get(newest.outcome, newest.outcome)
    return [Reason("Not promoted", f"The candidate of {day(newest.started)} was {words}.")]


NAMES = {"realign": "realignment", "evaluate": "evaluation"}


def day(time: float | None) -> str:
    """Return the day (UTC) of a Unix time."""
    try:
        return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return ""


def ago(time: float, now: float) -> str:
    """Return the time since another one in its largest unit."""
    seconds = max(now - time, 0.0)
    if seconds < 2 * 3600:
        return plural(int(seconds // 60), "minute")
    if seconds < 2 * DAY:
        return plural(int(seconds // 3600), "hour")
    return plural(int(seconds // DAY), "day")
