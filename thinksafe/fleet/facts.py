"""What is known of a fleet: its stores, and of each model the champion, what was measured, and what happened."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from thinksafe.measuring.statistics import Estimate
from thinksafe.records import Metric, MetricKind, MetricSet, Part, Record
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.report.summary import reasoning_average

MEASURES: tuple[MetricKind, ...] = ("harm", "over_refusal", "reasoning")
Pipeline = Literal["realign", "evaluate"]
PIPELINES: tuple[Pipeline, ...] = ("realign", "evaluate")

FINAL = frozenset({
    "promoted", "rolled back", "rejected", "passed, not promoted", "refused by gate", "stopped by diagnose",
    "stopped by curate", "stopped by train", "evaluated", "regressed", "nothing to do",
})
"""Outcomes of runs that ended; one that failed, did not finish or awaits approval may go on."""


class Span(NamedTuple):
    """A measured share with the limits of its interval."""

    value: float
    low: float
    high: float


Numbers = dict[str, Span]
"""By ``<kind>/<part>``, reasoning by its kind alone: of several benchmarks the highest harm and over-refusal, and the
average of reasoning."""


class Point(Record):
    """What one run measured of a model."""

    run_id: str
    time: float
    """Unix time in seconds."""
    suite: str
    passed: bool | None
    """Whether all checks held; False raised the alarm. None where nothing was checked, or nobody knows."""
    numbers: Numbers


class RunNote(Record):
    """A run that is in no history of evaluations."""

    run_id: str
    pipeline: Pipeline
    model: str
    """Registered model; empty where the run has none, as an evaluation of a student by itself."""
    outcome: str
    """As in the report, see :data:`thinksafe.report.summary.model.RunOutcome`."""
    started: float
    planned: bool = True
    """Whether its plan is in the store, which alone says what the run is about."""


class Failure(NamedTuple):
    """Why a run failed."""

    run_id: str
    task: str
    error: str
    action: str


class Waiting(NamedTuple):
    """A version that awaits approval, or whose approval came to nothing."""

    run_id: str
    version: str
    state: str
    """``waiting``, ``approved``, ``rejected`` or ``expired``; see :class:`thinksafe.registry.approvals.Review`."""
    words: str
    """The state as a clause."""
    missing: int
    since: float | None
    """Unix time of the request."""
    expires: float | None


class Schedule(NamedTuple):
    """When a pipeline runs, as the configuration of the last run says; the cluster may know otherwise."""

    pipeline: Pipeline
    cron: str
    next: float | None
    """Unix time of the next start; None if there is none."""
    overdue: float | None
    """Unix time of the start that should have followed the last run and was missed, as was the one after it."""


class Reason(NamedTuple):
    """Why a model needs a person, and what that person can do."""

    state: str
    words: str


class Event(NamedTuple):
    """Something that happened to a model."""

    time: float
    what: str
    run_id: str
    version: str = ""
    generation: int | None = None
    numbers: Numbers | None = None
    passed: bool | None = None
    note: str = ""


@dataclass(eq=False)
class ModelFacts:
    """One registered model of one store."""

    root: str
    name: str
    entries: list[LedgerEntry] = field(default_factory=list)
    """The ledger, oldest first."""
    times: list[float | None] = field(default_factory=list)
    """Unix time of each of its entries; None where it cannot be read."""
    promoted: dict[str, Point] = field(default_factory=dict)
    """What the runs of the ledger measured of their candidates, by run."""
    evaluations: dict[str, list[Point]] = field(default_factory=dict)
    """By digest of the model."""
    notes: list[RunNote] = field(default_factory=list)
    """Oldest first."""
    part: Part = "whole"
    """Part of the responses that the gate reads."""
    limits: dict[str, float] = field(default_factory=dict)
    """Limits of the gate by measure, as the last run was configured."""
    crons: dict[Pipeline, str] = field(default_factory=dict)
    """Schedules that the configuration of the last run enables."""
    failures: list[Failure] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    """Versions for which people were asked, oldest first, unless the ledger has moved on since."""
    alarms: dict[str, str] = field(default_factory=dict)
    """What the alarms of now say, by run."""
    problems: list[str] = field(default_factory=list)
    """What cannot be read."""

    @property
    def champion(self) -> LedgerEntry | None:
        """The generation whose target is champion."""
        return None if not self.entries or self.entries[-1].action == "withdraw" else self.entries[-1]

    @property
    def since(self) -> float | None:
        """Unix time since when the champion is one."""
        return self.times[-1] if self.champion is not None else None

    def measured(self) -> list[tuple[Point, bool]]:
        """Return what was measured, oldest first, and whether that was while the model was champion."""
        found: list[tuple[Point, bool]] = []
        seen: set[str] = set()
        for entry, time in zip(self.entries, self.times, strict=True):
            point = self.promoted.get(entry.run_id)
            if point is not None and time is not None and entry.action == "promote" and entry.run_id not in seen:
                seen.add(entry.run_id)
                found.append((point.model_copy(update={"time": time}), True))
        for digest, points in self.evaluations.items():
            reigns = self._reigns(digest)
            found += [(point, any(start <= point.time < end for start, end in reigns)) for point in points]
        return sorted(found, key=lambda item: (item[0].time, item[0].run_id))

    def newest(self) -> Point | None:
        """Return the newest measurement of the champion."""
        champion = self.champion
        if champion is None:
            return None
        own = self.promoted.get(champion.run_id)
        points = [*self.evaluations.get(champion.target.digest, ())]
        if own is not None:
            points.append(own)
        return max((point for point in points if point.numbers), key=lambda point: point.time, default=None)

    def last_run(self, pipeline: Pipeline) -> float | None:
        """Return when the last run of a pipeline started or was measured."""
        found = [note.started for note in self.notes if note.pipeline == pipeline]
        if pipeline == "evaluate":
            found += [point.time for points in self.evaluations.values() for point in points]
        return max(found, default=None)

    def _reigns(self, digest: str) -> list[tuple[float, float]]:
        ends = [*self.times[1:], None]
        return [
            (-math.inf if start is None else start, math.inf if end is None else end)
            for entry, start, end in zip(self.entries, self.times, ends, strict=True)
            if entry.target.digest == digest and entry.action != "withdraw"
        ]


@dataclass
class StoreFacts:
    """One store."""

    root: str
    problem: str = ""
    """Why it cannot be read; empty if it can."""
    models: list[ModelFacts] = field(default_factory=list)
    lost: list[RunNote] = field(default_factory=list)
    """Runs without a plan: nobody can say for which model they were."""
    others: int = 0
    """Evaluations of models that never were champion."""
    problems: list[str] = field(default_factory=list)
    """What cannot be read and belongs to no model."""


def numbers_of(metrics: MetricSet) -> Numbers:
    """Return the numbers of a metric set in short, to a millionth."""
    worst: dict[str, Metric] = {}
    for metric in metrics.metrics:
        if metric.kind != "reasoning":
            key = f"{metric.kind}/{metric.part}"
            if key not in worst or metric.value > worst[key].value:
                worst[key] = metric
    found: dict[str, Metric | Estimate] = {**worst}
    if average := reasoning_average(metrics):
        found["reasoning"] = average
    return {
        key: Span(round(of.value, 6), round(of.interval.low, 6), round(of.interval.high, 6))
        for key, of in found.items()
    }


def number(numbers: Numbers, measure: MetricKind, part: Part) -> Span | None:
    """Return one measure, of the part that the gate reads where it was measured, else of the whole response."""
    if measure == "reasoning":
        return numbers.get(measure)
    return numbers.get(f"{measure}/{part}", numbers.get(f"{measure}/whole"))


def moment(time: str) -> float | None:
    """Return an ISO 8601 time as Unix time, without a zone in UTC; None for a text that is none."""
    try:
        found = datetime.fromisoformat(time)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
