"""What earlier runs of the same student measured: lengths of responses, time for each unit of work, sizes of sets.

They are found in the store by the student that their plans name. Of each number the newest run that has it counts:
work that a run found done in the store says nothing about time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError

from thinksafe.config.compared import method_of
from thinksafe.config.rounds import tasks_of_rounds, without_round
from thinksafe.config.sections import JudgeSection
from thinksafe.estimating.work import readers
from thinksafe.prompts.details import PrepareDetails
from thinksafe.run.details import DiagnoseDetails, PlanDetails, Prediction
from thinksafe.run.past import records_of
from thinksafe.run.record import StageRecord, list_records
from thinksafe.settings import StudentSettings
from thinksafe.store import Store

NEWEST = 5
"""Runs of the student that are read, from the newest."""


class Speed(NamedTuple):
    """What a unit of work took: a response token, a verdict, a graded answer, a trained token, or a whole stage."""

    seconds: float
    """Of the stage or, with GPUs, GPU-seconds."""
    gpus: int
    """GPUs that the stage held; without any the seconds are those of the machine."""
    run_id: str = ""
    settings: Any = None
    """What it depends on besides the student; only the same settings can be compared."""

    @classmethod
    def of(cls, units: float, seconds: float, gpus: int, run_id: str = "", settings: Any = None) -> Speed:
        """Return the speed of a stage that did some work in some seconds."""
        return cls(seconds * (gpus or 1) / units, gpus, run_id, settings)

    def hours(self, units: float) -> float:
        """Return the hours, or GPU-hours, for some units of work."""
        return units * self.seconds / 3600


@dataclass
class Measured:
    """What is known of a student."""

    runs: list[str] = field(default_factory=list)
    """Runs that were read, the newest first."""
    tokens: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Mean tokens of a response by task, and the run that measured it."""
    speeds: dict[str, list[Speed]] = field(default_factory=dict)
    """By task, the newest first."""
    arms: dict[str, float] = field(default_factory=dict)
    """Mean tokens of the pilot's samples by arm."""
    pilot_run: str = ""
    acceptance: float | None = None
    """Share of the pilot's samples under test that were accepted."""
    predictions: tuple[Prediction, ...] = ()
    sets: dict[tuple[str, str], int] = field(default_factory=dict)
    """Prompts by use and name of the set."""
    kept: tuple[float, str] | None = None
    """Share of the training samples that became examples, and of which method."""
    example: tuple[float, str] | None = None
    """Tokens of an example, prompt included, and the run."""
    problem: str = ""
    """Why no run could be looked for."""


def same_student(one: StudentSettings, other: Mapping[str, Any]) -> bool:
    """Return whether a run's student is the one of a configuration; a revision counts where both name one."""
    revision = str(other.get("revision") or "")
    return one.model == other.get("model") and (not one.revision or not revision or one.revision == revision)


def find_measured(store: Store, student: StudentSettings, *, but: str = "") -> Measured:
    """Return what the newest runs of a student measured.

    Args:
        store: Holds the records of the runs.
        student: The student.
        but: A run that does not count: the one that is estimated.

    Raises:
        StoreError: the store failed.
    """
    plans = []
    for record in records_of(store, "plan"):
        planned = record.read(PlanDetails)
        named = (planned.base or planned.model or {}).get("student")
        if record.run_id != but and isinstance(named, dict) and same_student(student, named):
            plans.append(record)
    plans.sort(key=lambda record: (record.started, record.run_id), reverse=True)
    found = Measured()
    for plan in plans[:NEWEST]:
        add_run(found, list_records(store, plan.run_id).found)
    return found


def add_run(found: Measured, records: Mapping[str, StageRecord]) -> None:
    """Add what a run measured and newer ones did not.

    Args:
        found: Gets the numbers.
        records: Records of the run by task.
    """
    plan = records.get("plan")
    if plan is None:
        return
    planned = plan.read(PlanDetails)
    config = planned.config
    found.runs.append(plan.run_id)
    for task, record in records.items():
        if not record.succeeded or record.stage == "report":
            continue
        if record.stage == "sample" and (length := _ratio(record.counts, "tokens", "responses")):
            found.tokens.setdefault(task, (length, record.run_id))
        if record.stage == "train" and (length := _ratio(record.counts, "response_tokens", "responses")):
            found.tokens.setdefault(task, (length, record.run_id))
        own = planned.methods.get(method_of(task), config)
        if (units := _units(record, own)) and record.seconds:
            settings = settings_of(own, record.stage, task)
            speed = Speed.of(units, record.seconds, record.gpus, record.run_id, settings)
            found.speeds.setdefault(task, []).append(speed)
    _add_pilot(found, records.get("diagnose"))
    _add_examples(found, records, config)
    if (prepare := records.get("prepare")) is not None:
        for row in prepare.read(PrepareDetails).sets:
            found.sets.setdefault((row.use, row.name), row.rows)


def settings_of(config: Mapping[str, Any], stage: str, task: str) -> Any:
    """Return the settings on which the time of a unit of work depends, besides the student.

    Args:
        config: A whole configuration as JSON values.
        stage: The stage.
        task: The task; pilot and training are judged by the filtering guard.
    """
    if stage == "sample":
        engine = _part(config, "engine")
        written = task.startswith("sample-training") and _part(config, "method").get("teacher")
        return [engine.get("kind"), _part(config, "student").get("dtype"), written or None]
    if stage == "judge":
        guards = _part(config, "guard")
        use = "filter" if without_round(task.partition(".")[0]) in ("judge-pilot", "judge-training") else "evaluate"
        guard = _part(guards, use)
        return [[each.get(key) for key in ("kind", "model", "backend")] for each in (guard, *guard.get("members", ()))]
    if stage == "train":
        training = _part(config, "training")
        return [training.get("parameters"), training.get("strategy"), _part(config, "method").get("kind")]
    return None


def _units(record: StageRecord, config: Mapping[str, Any]) -> float:
    """Return the work that a stage did, 0 if it found all of it done."""
    counts = record.counts
    if record.stage == "sample":
        return float(counts.get("tokens_new", 0))
    if record.stage in ("judge", "grade"):
        chunks = counts.get("chunks", 0)
        fresh = 1 - counts.get("chunks_reused", 0) / chunks if chunks else 0.0
        return fresh * sum(counts.get(name, 0) for name in _JUDGED[record.stage]) * _readers(record)
    if record.stage == "train":
        steps = counts.get("steps", 0)
        fresh = 0.0 if counts.get("reused") or not steps else 1 - counts.get("resumed", 0) / steps
        epochs = _part(config, "training").get("epochs", 1)
        return fresh * float(counts.get("response_tokens") or counts.get("tokens", 0) * epochs)
    return 1.0


_JUDGED = {"judge": ("safe", "unsafe", "unknown"), "grade": ("rows",)}


def _readers(record: StageRecord) -> float:
    try:
        return readers(JudgeSection.model_validate(record.section)) if record.stage == "judge" else 1.0
    except ValidationError:  # another version's
        return 0.0


def _add_pilot(found: Measured, record: StageRecord | None) -> None:
    if record is None or found.arms:
        return
    pilot = record.read(DiagnoseDetails)
    if pilot.tokens:
        found.arms, found.pilot_run = dict(pilot.tokens), record.run_id
        found.predictions = pilot.predictions
        found.acceptance = pilot.acceptance_steered.value if pilot.acceptance_steered is not None else None


def _add_examples(found: Measured, records: Mapping[str, StageRecord], config: Mapping[str, Any]) -> None:
    curate, train = records.get("curate"), records.get("train")
    method = str(_part(config, "method").get("kind", ""))
    if curate is not None and found.kept is None and (share := _ratio(curate.counts, "accepted", "rows")):
        found.kept = (share, method)
    own = train is not None and not train.counts.get("responses")
    if train is not None and own and found.example is None and (length := _ratio(train.counts, "tokens", "rows")):
        found.example = (length, train.run_id)


def _ratio(counts: Mapping[str, float], above: str, below: str) -> float:
    return counts.get(above, 0) / counts[below] if counts.get(below) else 0.0


def _part(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def siblings(task: str, names: Iterable[str]) -> list[str]:
    """Return the tasks of the same stage that do the same for another model, method or round, the nearest first."""
    name = task.partition(".")[0]
    stage, _, role = name.partition("-")
    order = {
        "champion": ("candidate", "base", "evaluated"), "candidate": ("champion", "evaluated", "base"),
        "base": ("evaluated", "candidate", "champion"), "evaluated": ("champion", "candidate", "base"),
    }.get(role, ())
    rounds = tasks_of_rounds(without_round(name))
    wanted = dict.fromkeys([name, *rounds, *(f"{stage}-{other}" for other in order)])
    known = list(names)
    return [one for first in wanted for one in known if one.partition(".")[0] == first and one != task]
