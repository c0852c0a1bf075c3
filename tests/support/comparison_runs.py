"""Plausible stage records of a comparison, made of those of whole runs (:mod:`report_runs`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import report_runs as runs
from report_measures import outcomes

from thinksafe.config.compared import Shared, scoped
from thinksafe.records import MetricSet, Outcome
from thinksafe.run.record import StageRecord

OWN = (
    "sample-training", "judge-training", "curate", "train", "sample-candidate", "judge-candidate", "grade-candidate",
    "metrics-candidate", "gate",
)
"""Tasks of a method by itself."""
LEFT_OUT = ("register", "promote")


class Compared(NamedTuple):
    """Records of a comparison, and what reads the outcomes that they name."""

    records: dict[str, StageRecord]
    read: Callable[[str], Iterator[Outcome]]


def worse(**settings: Any) -> dict[str, StageRecord]:
    """A run whose candidate passes with more harm than that of ``promoted``."""
    run = runs.Run(**settings)
    run.to_candidate()
    run.gated(shift=0.015)
    return run.records


METHODS: dict[str, tuple[str, Callable[..., dict[str, StageRecord]]]] = {
    "thinksafe": ("thinksafe", runs.passed_not_promoted), "thinksafe-kl": ("thinksafe", worse),
    "rejection": ("rejection", runs.refused), "given": ("given", runs.failed),
}
"""Kind and records by name: two pass, one is refused, one fails."""


def comparison(
    methods: dict[str, tuple[str, Callable[..., dict[str, StageRecord]]]] = METHODS, pace: float = 1.0, gpus: int = 1,
    price: float | None = None,
) -> Compared:
    """Return the records of a comparison of methods; ``pace`` changes what may differ between equal runs."""
    kept: dict[str, list[Outcome]] = {}
    first = runs.passed_not_promoted(pace=pace)
    records = {
        task: record for task, record in first.items() if task not in (*OWN, *LEFT_OUT) and "pilot" not in task
    }
    del records["diagnose"]
    config = first["plan"].details["config"]
    overrides = {name: {"method": {"kind": kind}} for name, (kind, _) in methods.items()}
    details = {
        **first["plan"].details,
        "config": {
            **config, "name": "several", "cost": {"gpu_hour": price, "currency": "EUR"},
            "compare": [{"name": name, "overrides": of} for name, of in overrides.items()],
        },
        "methods": {name: {**config, "method": {"kind": kind}} for name, (kind, _) in methods.items()},
        "shared": [
            Shared(method=name, pilot="thinksafe", diagnosis="thinksafe", samples=name).model_dump() for name in methods
        ],
    }
    records["plan"] = first["plan"].model_copy(update={"stage": "plan_comparison", "details": details})
    for task in ("sample-pilot", "judge-pilot", "diagnose"):
        records[scoped(task, "thinksafe")] = _renamed(first[task], "thinksafe")
    for place, (name, (_, make)) in enumerate(methods.items(), 1):
        for task, record in make(pace=pace * place).items():
            if task in OWN:
                records[scoped(task, name)] = _renamed(record, name).model_copy(update={"gpus": gpus})
    for task, record in records.items():
        if record.stage == "metrics":
            metrics = MetricSet.model_validate(record.details["metrics"])
            digest = f"outcomes of {task}"
            kept[digest] = outcomes(metrics)
            records[task] = record.model_copy(update={"outputs": {**record.outputs, "outcomes": digest}})
    for task, record in records.items():
        if record.stage == "sample":
            fresh = {"responses": record.counts["rows"], "chunks_reused": 0}
            records[task] = record.model_copy(update={"counts": {**record.counts, **fresh}})
    return Compared(records, lambda digest: iter(kept[digest]))


def _renamed(record: StageRecord, method: str) -> StageRecord:
    return record.model_copy(update={"task": scoped(record.task, method)})
