"""Trained adapters in the store, under a key of everything that determines them.

The files go to ``adapters/<key>/<digest of the files>/``, then, by conditional create,
``adapters/<key>/manifest.json``. A manifest with intact files means that the training is done. If two trainings run at
once on machines whose floating point differs, one wins and the other uses its adapter.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from thinksafe.digests import digest_file, digest_folder
from thinksafe.errors import ConflictError, DamagedError, MissingError
from thinksafe.models.loading import ADAPTER_FILES, fetch_adapter
from thinksafe.models.references import ModelReference
from thinksafe.records import Record
from thinksafe.store import Store
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.drift import Drift
from thinksafe.training.launch import Outcome


class AdapterManifest(Record):
    """``adapters/<key>/manifest.json``, written after the files."""

    schema_version: Literal[1] = 1
    files: dict[str, str]
    """Digest of each file by name."""
    adapter_digest: str
    """``digest_folder`` over ``ADAPTER_FILES``."""
    steps: int
    curve: list[dict[str, float]]
    """See :class:`thinksafe.training.fit.Training`."""
    rows: int
    """Examples trained on."""
    tokens: int
    """Tokens of one epoch; of the prompts alone, where training samples the responses itself."""
    responses: int = 0
    """Responses that training itself sampled."""
    response_tokens: int = 0
    dropped: dict[str, int]
    """Examples left out, by reason (:data:`thinksafe.training.data.Drop`)."""
    drift: tuple[Drift, ...] = ()
    """See :mod:`thinksafe.training.drift`; empty if it cannot be measured for this model."""
    share: float = 1.0
    """Share of the parameters that one process held while training: 1 if each held the whole student."""


def _manifest_key(key: str) -> str:
    return f"adapters/{key}/manifest.json"


def find_adapter(store: Store, base: ModelReference, key: str) -> AdapterManifest | None:
    """Return the manifest of a complete and intact adapter, or None if it must be trained (again)."""
    if not store.exists(_manifest_key(key)):
        return None
    try:
        manifest = AdapterManifest.model_validate_json(store.get(_manifest_key(key)))
        with tempfile.TemporaryDirectory() as folder:
            fetch_adapter(store, candidate_of(base, key, manifest), Path(folder))
    except (ValidationError, MissingError, DamagedError):
        return None
    return manifest


def candidate_of(base: ModelReference, key: str, manifest: AdapterManifest) -> ModelReference:
    """Return the reference of the base with a trained adapter."""
    digest = manifest.adapter_digest
    return base.model_copy(
        update={"role": "candidate", "adapter": f"adapters/{key}/{digest}", "adapter_digest": digest}
    )


def settle(store: Store, base: ModelReference, key: str, folder: Path, done: Outcome) -> AdapterManifest:
    """Write a trained adapter into the store, delete its checkpoints, and return the manifest that counts.

    Args:
        store: The run's store.
        base: The student.
        key: Key of the adapter.
        folder: Folder with the adapter's files.
        done: Results of the training.
    """
    manifest = AdapterManifest(
        files={file: digest_file(folder / file) for file in ADAPTER_FILES},
        adapter_digest=digest_folder(folder, ADAPTER_FILES),
        steps=done.steps, curve=done.curve, rows=done.rows, tokens=done.tokens, dropped=done.dropped, drift=done.drift,
        share=done.share, responses=done.responses, response_tokens=done.response_tokens,
    )
    prefix = candidate_of(base, key, manifest).adapter
    for file in ADAPTER_FILES:
        store.put_file(f"{prefix}/{file}", folder / file)
    manifest = _settle(store, base, key, manifest)
    Checkpoints(store, key, folder).clear()
    return manifest


def _settle(store: Store, base: ModelReference, key: str, manifest: AdapterManifest) -> AdapterManifest:
    """Publish the adapter in the store; return the manifest that counts: that of another trainer if it was first."""
    document = manifest.model_dump_json(indent=2).encode() + b"\n"
    try:
        store.create(_manifest_key(key), document)
    except ConflictError:
        if winner := find_adapter(store, base, key):
            return winner
        store.put(_manifest_key(key), document)  # what is there is damaged, or its files are
    return manifest
