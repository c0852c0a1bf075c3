"""The verdicts of a run and their samples, found through its stage records and read chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from thinksafe.config.guard_kinds import KINDS
from thinksafe.errors import InputError
from thinksafe.records import Part, Sample, Verdict
from thinksafe.run.details import PlanDetails
from thinksafe.run.manifests import Chunk, Manifest, read_chunk, saved_manifest
from thinksafe.run.record import DELETE_RECORD, StageRecord, list_records, numbered_task
from thinksafe.store import Store

EVALUATED = ("base", "candidate", "champion", "evaluated")
"""Roles whose verdicts make metrics."""
ROLES = (*EVALUATED, "pilot", "training")


@dataclass(frozen=True)
class Judge:
    """A guard of a run."""

    name: str
    threshold: float | None
    """Its verdict is unsafe at this p(unsafe) or above; None for a guard without probabilities."""


@dataclass(frozen=True)
class Batch:
    """One chunk of samples and the chunk of their verdicts."""

    role: str
    samples: Chunk
    verdicts: Chunk
    reasoning: Literal["think", "none"]
    threshold: float | None
    members: tuple[Judge, ...] = ()
    """The members of a panel, in the order of the configuration, each with a name of its own."""

    def rows(self, store: Store, part: Part) -> Iterator[tuple[Sample, Verdict]]:
        """Yield each sample with the guard's verdict on one part. Raises StoreError or InputError."""
        samples = {row.id: row for row in read_chunk(store, self.samples, Sample)}
        for verdict in read_chunk(store, self.verdicts, Verdict):
            if verdict.part == part:
                if verdict.sample_id not in samples:
                    raise InputError(
                        f"A verdict of {self.role} is about {verdict.sample_id!r}, which is not among its samples.",
                        "Start the run again.",
                    )
                yield samples[verdict.sample_id], verdict


@dataclass(frozen=True)
class JudgedRun:
    """A run whose samples were judged."""

    run_id: str
    batches: tuple[Batch, ...]
    seed: int
    part: Part
    """Part of the response that the gate looks at."""

    def of(self, roles: Sequence[str]) -> list[Batch]:
        """Return the batches of roles, in their order. Raises InputError for a role that the run does not have."""
        have = sorted({batch.role for batch in self.batches})
        if missing := [role for role in roles if role not in have]:
            raise InputError(
                f"The run {self.run_id} has no verdicts on {', '.join(missing)}.", f"It has: {', '.join(have)}."
            )
        return [batch for role in roles for batch in self.batches if batch.role == role]

    @property
    def evaluated(self) -> list[str]:
        """Roles of the evaluation that the run has."""
        return [role for role in EVALUATED if any(batch.role == role for batch in self.batches)]


def find_run(store: Store, run_id: str) -> JudgedRun:
    """Return a run by its stage records.

    Raises:
        InputError: It has no judged samples, or an earlier version made it.
        StoreError: the store failed.
    """
    read = list_records(store, run_id)
    if read.problems:
        raise InputError(f"{read.problems[0]}.", DELETE_RECORD)
    records = read.found
    batches: list[Batch] = []
    for role in ROLES:
        record = records.get(f"judge-{role}")
        if record is not None and record.succeeded:
            batches += _batches(store, role, record)
    if not batches and (task := numbered_task(store, run_id)):
        raise InputError(
            f"An earlier version of thinksafe made the run {run_id}; this one cannot audit it (task {task}).",
            "Audit it with that version, or start a new run.",
        )
    if not batches:
        raise InputError(f"The run {run_id} has no judged samples in {store.root}.", "Check the run id and the store.")
    plan = records.get("plan")
    planned = plan.read(PlanDetails) if plan is not None else PlanDetails()
    return JudgedRun(run_id, tuple(batches), int(planned.config.get("seed", 0)), planned.part)


def _batches(store: Store, role: str, record: StageRecord) -> Iterator[Batch]:
    samples, verdicts = (
        saved_manifest(store, digest) for digest in (record.inputs["samples"], record.outputs["verdicts"])
    )
    _require_same_places(record.task, samples, verdicts)
    section = record.section
    guard = section.get("guard", {})
    kinds = [str(member.get("kind", "")) for member in guard.get("members", ())]
    members = tuple(
        Judge(kind if kinds.count(kind) == 1 else f"{kind} {place}", _threshold(member))
        for place, (kind, member) in enumerate(zip(kinds, guard.get("members", ()), strict=True), start=1)
    )
    for one, two in zip(samples.chunks, verdicts.chunks, strict=True):
        yield Batch(role, one, two, section.get("reasoning", "think"), _threshold(guard), members)


def _threshold(guard: Mapping[str, Any]) -> float | None:
    known = KINDS.get(guard.get("kind", ""))
    return guard.get("threshold") if known is not None and known.probability else None


def _require_same_places(task: str, samples: Manifest, verdicts: Manifest) -> None:
    places = [[chunk.index for chunk in manifest.chunks] for manifest in (samples, verdicts)]
    if (samples.kind, verdicts.kind) != ("samples", "verdicts") or places[0] != places[1]:
        raise InputError(f"The manifests of {task} do not belong together.", "Start the run again.")
