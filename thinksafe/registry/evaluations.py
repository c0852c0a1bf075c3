"""Past evaluations of a model in the store, for comparison with a re-evaluation.

Evaluations are comparable if they have the same model (by digest) and the same suite (prompts, guard, sampling
settings), so those two form the key: ``evaluations/<model>/<suite>/<number>.json``, numbered from 1 by conditional
create, and the outcomes are stored next to it under their digest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from thinksafe.digests import digest_file
from thinksafe.errors import ConflictError, InputError, StoreError
from thinksafe.jsonl import read_records
from thinksafe.models.references import ModelReference
from thinksafe.records import MetricSet, Outcome, Record, Text
from thinksafe.run.manifests import Manifest, rows_key, saved_manifest
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
    samples: str = ""
    """Digest of the manifest of the samples; empty in evaluations of versions that did not record it."""
    planned: str = ""
    """Digest of the suite's configuration (:func:`thinksafe.config.comparable.suite_digest`)."""
    instruments: dict[str, str] = {}
    """What measured; see :class:`thinksafe.run.manifests.Manifest`. Empty as above."""
    passed: bool | None = None
    """Whether all checks held; False raised the alarm. None in evaluations of versions that did not record it."""


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


def samples_before(store: Store, model: ModelReference, planned: str, run_id: str) -> Manifest:
    """Return the samples of the evaluation that a run will be compared with, as far as its plan can tell.

    Whether the prompts are still the same is not known yet.

    Args:
        store: Artifact store.
        model: The model to evaluate.
        planned: Digest of the suite's configuration.
        run_id: The run.

    Returns:
        An absent manifest if there was none, or not all of its samples are kept.

    Raises:
        StoreError: an evaluation is malformed, or the store failed.
    """
    root = f"evaluations/{model.digest}/"
    suites = sorted({key.removeprefix(root).partition("/")[0] for key in store.keys(root)})
    found = [entry for suite in suites if (entry := last_before(store, model, suite, run_id)) is not None]
    newest = max((entry for entry in found if entry.planned == planned), key=lambda entry: entry.created, default=None)
    if newest is not None and newest.samples:
        with suppress(InputError):
            manifest = saved_manifest(store, newest.samples)
            if manifest.model == model.digest and all(store.exists(rows_key(chunk)) for chunk in manifest.chunks):
                return manifest
    return Manifest(kind="samples", absent=True, total=0, model=model.digest)


def append(
    store: Store, model: ModelReference, metrics: MetricSet, outcomes: Path, *, run_id: str, created: str,
    samples: str = "", planned: str = "", instruments: Mapping[str, str] | None = None, passed: bool | None = None,
) -> Evaluation:
    """Add an evaluation to the history, once per run, and return it.

    Args:
        store: Artifact store.
        model: The model that was evaluated.
        metrics: Its metrics; their suite is part of the key.
        outcomes: File of the outcomes that the metrics are averages over.
        run_id: Run that made the evaluation.
        created: ISO 8601, UTC.
        samples: Digest of the manifest of its samples.
        planned: Digest of the suite's configuration.
        instruments: What measured.
        passed: Whether all checks held.

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
            outcomes_digest=digest, samples=samples, planned=planned, instruments=dict(instruments or {}),
            passed=passed,
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
    return [read(store, key) for key in names if key.endswith(".json")]


def read(store: Store, key: str) -> Evaluation:
    """Return an evaluation by its key. Raises StoreError if it is malformed, or the store failed."""
    try:
        return Evaluation.model_validate_json(store.get(key))
    except ValidationError as error:
        raise StoreError(f"{store.uri(key)} is not an evaluation.", "Restore it from a backup, or move it.") from error
