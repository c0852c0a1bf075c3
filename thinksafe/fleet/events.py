"""What happened to a model, newest first."""

from __future__ import annotations

from thinksafe.fleet.facts import Event, ModelFacts

WORDS = {"promote": "Promoted", "rollback": "Rolled back to", "withdraw": "Withdrawn"}
SILENT = frozenset({"promoted", "rolled back", "nothing to do", "evaluated", "regressed"})
"""Outcomes of runs that the ledger or the history of evaluations tells, or that changed nothing."""


def events(model: ModelFacts) -> list[Event]:
    """Return the ledger, the evaluations and the other runs of a model as events, newest first."""
    found = []
    versions: dict[str, str] = {}
    for entry, time in zip(model.entries, model.times, strict=True):
        versions[entry.target.digest] = entry.version
        point = model.promoted.get(entry.run_id) if entry.action == "promote" else None
        found.append(Event(
            time or 0.0, WORDS[entry.action], entry.run_id, entry.version, entry.generation,
            point.numbers if point is not None else None, note=f"{entry.who}: {entry.reason}",
        ))
    for digest, points in model.evaluations.items():
        found += [
            Event(
                point.time, "Alarm" if point.passed is False else "Evaluated", point.run_id, versions.get(digest, ""),
                numbers=point.numbers, passed=point.passed, note=model.alarms.get(point.run_id, ""),
            )
            for point in points
        ]
    said = {one.run_id: f"Version {one.version}: {one.words}" for one in model.waiting}
    reasons = said | {failure.run_id: f"{failure.task}: {failure.error}" for failure in model.failures}
    found += [
        Event(
            note.started, note.outcome.capitalize() if note.pipeline == "realign" else f"Evaluation {note.outcome}",
            note.run_id, note=reasons.get(note.run_id, ""),
        )
        for note in model.notes if note.outcome not in SILENT
    ]
    return sorted(found, key=lambda event: (event.time, event.generation or 0, event.run_id), reverse=True)
