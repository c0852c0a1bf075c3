"""Past evaluations of a model in the store, for comparison with a re-evaluation.

Evaluations are comparable if they have the same model (by digest) and the same suite (prompts, guard, sampling
settings), so those two form the key: ``evaluations/<model>/<suite>/<number>.json``, numbered from 1 by conditional
create, and the outcomes are stored next to it under their digest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from thinksafe.digests import digest_file
from thinksafe.errors import ConflictError, StoreError
from thinksafe.jsonl import read_records
from thinksafe.models.references import ModelReference
from thinksafe.records import MetricSet, Outcome, Record, Text
from thinksafe.store import Store

ATTEMPTS = 20
"""Numbers to try while other evaluations of the same model and suite are being written."""


class Evaluation(Record):
    """One evaluation of one model under one suite."""

    schema_version: Literal[1] = 1
    number: Annotated[int, Field(gt=0)]
    run_id: Text
    created: Text
    """ISO 8601, UTC."""
    model: ModelReference
    metrics: MetricSet
    outcomes: Text
    """Store key of the outcomes (JSON Lines)."""
    outcomes_digest: Text


def last_before(store: Store, model: ModelReference, suite: str, run_id: str) -> Evaluation | None:
    """Return the evaluation that a run is compared with, or None when there is none.

    That is the newest one. For a run that is already in the history (a repeated attempt), it is the newest one before
    its own, so that the run decides the same again.

    Raises:
        StoreError: an evaluation is malformed, or the store failed.
    """
    found = _entries(store, model, suite)
    own = next((entry.number for entry in found if entry.run_id == run_id), None)
    before = [entry for entry in found if own is None or entry.number < own]
    return before[-1] if before else None


def append(
    store: Store, model: ModelReference, metrics: MetricSet, outcomes: Path, *, run_id: str, created: str
) -> Evaluation:
    """Add an evaluation to the history, once per run, and return it.

    Args:
        store: Artifact store.
        model: The model that was evaluated.
        metrics: Its metrics; their suite is part of the key.
        outcomes: File of the outcomes that the metrics are averages over.
        run_id: Run that made the evaluation.
        created: ISO 8601, UTC.

    Raises:
        StoreError: the store failed, or evaluations of this model and suite were written faster than this one.
    """
    found = _entries(store, model, metrics.suite)
    if own := next((entry for entry in found if entry.run_id == run_id), None):
        return own
    prefix, digest = _prefix(model, metrics.suite), digest_file(outcomes)
    key = f"{prefix}outcomes/{digest}.jsonl"
    store.put_file(key, outcomes)
    first = found[-1].number + 1 if found else 1
    for number in range(first, first + ATTEMPTS):
        entry = Evaluation(
            number=number, run_id=run_id, created=created, model=model, metrics=metrics, outcomes=key,
            outcomes_digest=digest,
        )
        try:
            store.create(f"{prefix}{number:06d}.json", entry.model_dump_json(indent=2).encode() + b"\n")
        except ConflictError:
            continue
        return entry
    raise StoreError(
        f"{ATTEMPTS} other evaluations were written at {store.uri(prefix)} meanwhile.", "Start the same command again."
    )


@contextmanager
def outcomes_of(store: Store, evaluation: Evaluation) -> Iterator[Iterator[Outcome]]:
    """Open the outcomes of a past evaluation.

    Raises:
        StoreError: they are missing or are not those that the evaluation names.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.jsonl"
        store.get_file(evaluation.outcomes, path)
        if digest_file(path) != evaluation.outcomes_digest:
            raise StoreError(
                f"{store.uri(evaluation.outcomes)} was changed (digest differs).", "Restore it from a backup."
            )
        yield read_records(path, Outcome)


def _prefix(model: ModelReference, suite: str) -> str:
    return f"evaluations/{model.digest}/{suite}/"


def _entries(store: Store, model: ModelReference, suite: str) -> list[Evaluation]:
    prefix = _prefix(model, suite)
    names = sorted(key for key in store.keys(prefix) if "/" not in key.removeprefix(prefix))
    return [_read(store, key) for key in names if key.endswith(".json")]


def _read(store: Store, key: str) -> Evaluation:
    try:
        return Evaluation.model_validate_json(store.get(key))
    except ValidationError as error:
        raise StoreError(f"{store.uri(key)} is not an evaluation.", "Restore it from a backup, or move it.") from error
