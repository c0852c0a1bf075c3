"""Stage records: what a stage did, written as its last act to ``runs/<run id>/<task>.json`` in the store.

The report, the MLflow runs and people who read the store all get their facts from here.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from thinksafe.errors import ConfigError, DamagedError, MissingError, ThinkSafeError, full_disk
from thinksafe.records import Count, Record
from thinksafe.run.attempts import Attempt, Attempts
from thinksafe.run.details import Details
from thinksafe.store import Store

D = TypeVar("D", bound=Details)

SCHEMA_VERSION = 1
"""Version of stage records; goes up whenever an older reader would misread them."""
START = "start"
"""Task of the record that says which pod did not start, written from outside of the run."""
RESTORE = "Restore it from a backup, or start a new run."
DELETE_RECORD = "Delete it and start the run again; finished work is kept."


class StageRecord(Record):
    """One execution of a stage; a retry replaces it."""

    schema_version: Literal[1] = 1
    run_id: str
    stage: str
    """Name of the stage, e.g. ``sample``."""
    task: str
    """Name of this use of the stage, unique in the run, e.g. ``sample-training``."""
    status: Literal["succeeded", "failed"]
    verdict: str = ""
    """Outcome of a deciding stage (``passed``, ``refused``, ``unsteerable``, ``promoted`` ...)."""
    inputs: dict[str, str] = {}
    """Digest of each input by name."""
    outputs: dict[str, str] = {}
    """Digest of each output by name."""
    section: dict[str, Any] = {}
    """The configuration section that the stage was given."""
    counts: dict[str, int | float] = {}
    """Rows, tokens, chunks reused and the like."""
    details: dict[str, Any] = {}
    """What :meth:`read` returns, as JSON; never prompt or response text."""
    started: float
    """Unix time in seconds."""
    seconds: float
    attempts: tuple[Attempt, ...] = ()
    """The attempts before this one in the same pod; all of them failed."""
    gpus: Count = 0
    """GPUs that the stage held while it ran, busy or not: those that it saw, if it loaded PyTorch, or those of the pods
    that worked for it."""
    error: str = ""
    action: str = ""
    """The corrective action, when the stage failed."""

    @property
    def succeeded(self) -> bool:
        """Whether the stage did its work; a refusing verdict is work done."""
        return self.status == "succeeded"

    def read(self, model: type[D], problems: list[str] | None = None) -> D:
        """Return the details as the model of the stage.

        Args:
            model: Model of :mod:`thinksafe.run.details` or above.
            problems: Gets a sentence for each part that cannot be read and is at its default.
        """
        found: list[str] = []
        details = model.model_validate(self.details, context=found)
        if problems is not None:
            problems += [f"{self.task}: {problem}" for problem in found]
        return details

    def require(self, model: type[D]) -> D:
        """Return the details as the model of the stage. Raises DamagedError where a part of them cannot be read."""
        problems: list[str] = []
        details = self.read(model, problems)
        if problems:
            raise DamagedError(f"Stage record {problems[0]}.", RESTORE)
        return details


@dataclass
class StageResult:
    """What a stage function returns; becomes its record."""

    verdict: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int | float] = field(default_factory=dict)
    details: Details = field(default_factory=Details)
    """The stage's model; the record holds the parts that the stage has set."""
    gpus: int = 0
    """GPUs of other pods that worked for the stage."""


@dataclass(frozen=True)
class StageContext:
    """Where a stage runs: the store, the run and the name of this use of the stage."""

    store: Store
    run_id: str
    stage: str
    task: str
    track: Callable[[str, int], Progress]
    """Open a progress bar: ``with context.track("sampling", total=rows) as advance: advance(1)``."""
    attempts: Attempts = field(default_factory=Attempts)


class Advance(Protocol):
    """Counts finished rows of a progress report."""

    def __call__(self, rows: int, /, *, reused: bool = False) -> None:
        """Count rows; ``reused`` ones were made by an earlier run."""


class Progress:
    """A progress report; the CLI draws it, tests ignore it."""

    def __enter__(self) -> Advance:
        return _ignore

    def __exit__(self, *error: object) -> None:
        return None


def _ignore(rows: int, /, *, reused: bool = False) -> None:
    pass


def silent(label: str, total: int) -> Progress:  # noqa: ARG001
    """Return a progress report that shows nothing."""
    return Progress()


def record_key(run_id: str, task: str) -> str:
    """Return the store key of a stage record."""
    return f"runs/{run_id}/{task}.json"


@contextmanager
def recorded(context: StageContext, section: BaseModel | None) -> Iterator[StageResult]:
    """Run a stage body and write its record, even if it fails.

    The body fills the yielded result. An error is recorded with its corrective action and what the body had filled in
    by then, and raised again; a failure to record an error does not hide the error.

    Raises:
        ConfigError: Kubeflow replaced a pod whose stage had made all its attempts; its record stays.
    """
    attempts = context.attempts
    _refuse_more(context)
    spent = attempts.failed[-1].seconds if attempts.given_up else 0.0
    started, clock = time.time() - spent, time.monotonic() - spent
    result = StageResult()
    base: dict[str, Any] = {
        "run_id": context.run_id, "stage": context.stage, "task": context.task, "started": started,
        "section": section.model_dump(mode="json") if section is not None else {}, "attempts": attempts.before,
    }
    try:
        attempts.require_work(context.stage)
        yield result
    except BaseException as error:
        known = error if isinstance(error, ThinkSafeError) else full_disk(error)
        message = known.problem if known else f"{type(error).__name__}"
        action = known.action if known else "See the log of this stage."
        with suppress(Exception):
            write_stage_record(
                context.store,
                StageRecord(
                    **base, status="failed", seconds=time.monotonic() - clock, inputs=result.inputs,
                    counts=result.counts, details=_parts(result.details), error=message, action=action,
                    gpus=result.gpus or _gpus(),
                ),
            )
        raise
    write_stage_record(
        context.store,
        StageRecord(
            **base, status="succeeded", seconds=time.monotonic() - clock, verdict=result.verdict,
            inputs=result.inputs, outputs=result.outputs, counts=result.counts,
            details=_parts(result.details),
            gpus=result.gpus or _gpus(),
        ),
    )


def _refuse_more(context: StageContext) -> None:
    """Refuse to start again what an earlier pod has given up; where Kubeflow retries, too, attempts would multiply."""
    attempts = context.attempts
    if not attempts.replacing:
        return
    earlier = find_record(context.store, context.run_id, context.task)
    if earlier is not None and not earlier.succeeded and len(earlier.attempts) >= attempts.retries:
        raise ConfigError(
            f"The stage failed {len(earlier.attempts) + 1} times in another pod, and Kubeflow started it once more.",
            "Look at the error of that pod and start the run again. Argo's retryPolicy OnError keeps Kubeflow from "
            "this (docs/cluster.md, retries).",
        )


def _parts(details: Details) -> dict[str, Any]:
    return details.model_dump(mode="json", include=details.model_fields_set)


def _gpus() -> int:
    torch = sys.modules.get("torch")  # a stage that has not imported it uses none
    with suppress(Exception):  # a fault of the driver must not cost the record
        return int(torch.cuda.device_count()) if torch is not None else 0
    return 0


def write_stage_record(store: Store, record: StageRecord) -> None:
    """Write a record atomically, replacing the one of an earlier attempt."""
    store.put(record_key(record.run_id, record.task), record.model_dump_json(indent=2).encode() + b"\n")


@dataclass(frozen=True)
class RunRecords:
    """The stage records of a run."""

    found: dict[str, StageRecord]
    """By task name, in the order in which the tasks started."""
    problems: tuple[str, ...]
    """Objects in the place of a record that cannot be read, each with its key and the reason."""


def find_record(store: Store, run_id: str, task: str) -> StageRecord | None:
    """Return the record of a task; None for one that is missing, or that :func:`list_records` counts as a problem."""
    found = _find(store, run_id, task)
    return found if isinstance(found, StageRecord) else None


def find_evidence(store: Store, run_id: str, task: str) -> StageRecord | None:
    """Return the record of a task, None for one that is missing.

    Use it for permanent entries (registry, ledger), where an unreadable record must not pass as a missing one.

    Raises:
        DamagedError: the record is there, and :func:`list_records` would count it as a problem.
    """
    found = _find(store, run_id, task)
    if isinstance(found, str):
        raise DamagedError(f"{found}.", RESTORE)
    return found


def _find(store: Store, run_id: str, task: str) -> StageRecord | str | None:
    """Return the record of a task, what is wrong with it, or None where there is none."""
    key = record_key(run_id, task)
    try:
        return _parse(key, store.get(key))
    except MissingError:
        return None


def list_records(store: Store, run_id: str) -> RunRecords:
    """Return the records of a run.

    A problem is an object that is not a stage record, that another version wrote, or that belongs to another run or
    task.
    """
    read = [_parse(key, store.get(key)) for key in store.keys(f"runs/{run_id}/") if key.endswith(".json")]
    found = sorted((each for each in read if isinstance(each, StageRecord)), key=lambda record: record.started)
    return RunRecords({record.task: record for record in found}, tuple(each for each in read if isinstance(each, str)))


def numbered_task(store: Store, run_id: str) -> str:
    """Return a task of a run whose name ends in a number; empty if there is none.

    Earlier versions named tasks so, one for each shard. Their runs can be neither resumed nor audited. Behind a dot
    stands the name of a compared method.
    """
    prefix = f"runs/{run_id}/"
    names = (key.removeprefix(prefix).removesuffix(".json") for key in store.keys(prefix))
    return next((name for name in names if "." not in name and re.search(r"-\d+$", name)), "")


def _parse(key: str, data: bytes) -> StageRecord | str:
    """Return the record in an object of the store, or what is wrong with it."""
    try:
        version = json.loads(data).get("schema_version", SCHEMA_VERSION)
    except (ValueError, AttributeError, RecursionError):
        return f"{key} is not a stage record"
    if version != SCHEMA_VERSION:
        return f"{key} was written by another version of thinksafe (schema {version}; this one reads {SCHEMA_VERSION})"
    try:
        record = StageRecord.model_validate_json(data)
    except ValidationError:
        return f"{key} is not a stage record"
    if record_key(record.run_id, record.task) != key:
        return f"{key} is the record of {record.task} of the run {record.run_id}"
    return record
