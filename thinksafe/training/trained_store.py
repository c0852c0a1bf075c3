"""What was trained, in the store, under a key of everything that determines it.

The files go to ``adapters/<key>/<digest of the files>/`` or, if all weights were trained, ``weights/<key>/<digest>/``;
then, by conditional create, ``manifest.json`` goes beside that folder. A manifest with intact files means that the
training is done. If two trainings run at once on machines whose floating point differs, one wins and the other uses
what it made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from thinksafe.digests import digest_file, digest_files
from thinksafe.errors import ConflictError, DamagedError, MissingError
from thinksafe.models.references import FOLDERS, ModelReference, Trained
from thinksafe.models.trained import verify_trained
from thinksafe.records import Record
from thinksafe.settings import Parameters
from thinksafe.store import Store
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.drift import Drift
from thinksafe.training.launch import Outcome


class TrainedManifest(Record):
    """``adapters/<key>/manifest.json`` or ``weights/<key>/manifest.json``, written after the files."""

    schema_version: Literal[1] = 1
    files: dict[str, str]
    """Digest of each file by name."""
    adapter_digest: str = ""
    """Digest over the files of an adapter."""
    weights_digest: str = ""
    """Digest over the files of a folder with all weights."""
    size: int = 0
    """Bytes of all files; 0 if it was not recorded."""
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
    changed: tuple[int, int] | None = None
    """See :class:`thinksafe.training.fit.Training`."""

    def trained(self, key: str) -> Trained:
        """Return what was trained, as a reference names it."""
        digest = self.weights_digest or self.adapter_digest
        parameters: Parameters = "full" if self.weights_digest else "lora"
        return Trained(parameters, f"{FOLDERS[parameters]}/{key}/{digest}", digest)


def manifest_key(key: str, parameters: Parameters) -> str:
    """Return the store key of a manifest."""
    return f"{FOLDERS[parameters]}/{key}/manifest.json"


def find_trained(store: Store, key: str, parameters: Parameters) -> TrainedManifest | None:
    """Return the manifest of a complete and intact result, or None if it must be trained (again)."""
    place = manifest_key(key, parameters)
    if not store.exists(place):
        return None
    try:
        manifest = TrainedManifest.model_validate_json(store.get(place))
        verify_trained(store, manifest.trained(key))
    except (ValidationError, MissingError, DamagedError):
        return None
    return manifest


def candidate_of(base: ModelReference, key: str, manifest: TrainedManifest) -> ModelReference:
    """Return the reference of what was trained from a base."""
    return base.with_trained(manifest.trained(key)).model_copy(update={"role": "candidate"})


def settle(store: Store, key: str, parameters: Parameters, folder: Path, done: Outcome) -> TrainedManifest:
    """Write what was trained into the store, delete its checkpoints, and return the manifest that counts.

    Args:
        store: The run's store.
        key: Key of what was trained.
        parameters: Whether that is an adapter or all weights.
        folder: Folder with its files, and no others.
        done: Results of the training.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {name: digest_file(path) for name, path in paths.items()}
    digests = Trained(parameters, "", digest_files(files)).digests
    manifest = TrainedManifest(
        files=files, size=sum(path.stat().st_size for path in paths.values()), steps=done.steps, curve=done.curve,
        rows=done.rows, tokens=done.tokens, dropped=done.dropped, drift=done.drift, share=done.share,
        changed=done.changed, responses=done.responses, response_tokens=done.response_tokens, **digests,
    )
    for name, path in paths.items():
        store.put_file(f"{manifest.trained(key).place}/{name}", path)
    manifest = _settle(store, key, parameters, manifest)
    Checkpoints(store, key, folder).clear()
    return manifest


def _settle(store: Store, key: str, parameters: Parameters, manifest: TrainedManifest) -> TrainedManifest:
    """Publish the result in the store; return the manifest that counts: that of another trainer if it was first."""
    document = manifest.model_dump_json(indent=2).encode() + b"\n"
    place = manifest_key(key, parameters)
    try:
        store.create(place, document)
    except ConflictError:
        if winner := find_trained(store, key, parameters):
            return winner
        store.put(place, document)  # what is there is damaged, or its files are
    return manifest
