"""What to serve: one generation of the ledger, in the form that the manifests need."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from thinksafe.config.deploy import DeploySettings
from thinksafe.errors import ConfigError, StoreError
from thinksafe.models.ranks import max_lora_rank
from thinksafe.models.references import FOLDERS, NOUNS, Trained
from thinksafe.models.trained import fetch_trained
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.registration import trained_of
from thinksafe.settings import Parameters
from thinksafe.store import Store
from thinksafe.training.trained_store import TrainedManifest

_ADDRESS = re.compile(rf"(?P<root>.*[^/])/(?P<place>(?P<folder>{'|'.join(FOLDERS.values())})/.+)")


@dataclass(frozen=True)
class Target:
    """One generation, ready to be served."""

    generation: int
    run_id: str
    version: str
    parameters: Parameters
    """``lora``: an adapter on top of the student. ``full``: weights in its place."""
    place: str
    """Address of the folder: ``s3://bucket/prefix/adapters/...`` or ``s3://bucket/prefix/weights/...``."""
    digest: str
    """Digest over its files."""
    size: int
    """Bytes of all weights; 0 for an adapter, which is small."""
    rank: int
    """Smallest ``max_lora_rank`` of vLLM that covers the adapter's rank; 0 without an adapter."""
    model: str
    """Where vLLM loads the student from."""
    revision: str
    """Commit of a hub id; empty for a folder."""
    dtype: str
    trust_remote_code: bool

    @property
    def noun(self) -> str:
        """``adapter`` or ``weights``."""
        return NOUNS[self.parameters]

    @property
    def path(self) -> str:
        """Path of the files in the pod; its digest identifies the served model."""
        return f"/{FOLDERS[self.parameters]}/{self.digest}"


def target_of(store: Store, entry: LedgerEntry, settings: DeploySettings) -> Target:
    """Return a generation as a target. Reads the adapter's configuration, or the size of all weights, from the store.

    Raises:
        ConfigError: a pod cannot read this store.
        StoreError: the adapter's configuration or the manifest of the weights is missing or malformed, or vLLM does not
            support the adapter's rank.
    """
    trained = trained_of(entry.target)
    address = store.uri(trained.place)
    if not address.startswith("s3://"):
        raise ConfigError(
            f"A pod cannot read {address}, which it would serve.", "Roll out from a store at s3://bucket/prefix."
        )
    rank, size = (_rank(store, trained), 0) if trained.parameters == "lora" else (0, _size(store, trained))
    student = entry.target.student
    own = not settings.model or settings.model == student.model
    return Target(
        generation=entry.generation, run_id=entry.run_id, version=entry.version,
        parameters=trained.parameters, place=address,
        digest=trained.digest, size=size, rank=rank, model=settings.model or student.model,
        revision=student.revision if own else "", dtype=student.dtype, trust_remote_code=student.trust_remote_code,
    )


def _rank(store: Store, trained: Trained) -> int:
    key = f"{trained.place}/adapter_config.json"
    try:
        return max_lora_rank(json.loads(store.get(key))["r"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{store.uri(key)} contains no rank.", "Start the run again from training.") from error


def _size(store: Store, trained: Trained) -> int:
    key = f"{trained.place.rpartition('/')[0]}/manifest.json"
    try:
        return TrainedManifest.model_validate_json(store.get(key)).size
    except ValidationError as error:
        raise StoreError(f"{store.uri(key)} is no manifest.", "Start the run again from training.") from error


def fetch(address: str, digest: str, folder: Path) -> None:
    """Copy an adapter, or all weights, into a folder and check them: the work of the init container.

    Args:
        address: ``ROOT/adapters/KEY/DIGEST`` or ``ROOT/weights/KEY/DIGEST``, below the root of a store.
        digest: Digest over the files.
        folder: Created here; vLLM loads from it.

    Raises:
        ConfigError: the address is not of that form.
        StoreError: there are no files, or they are not those that the digest names.
    """
    from thinksafe.store import open_store

    found = _ADDRESS.fullmatch(address.rstrip("/"))
    if found is None:
        raise ConfigError(
            f"{address[:200]!r} is not the address of an adapter or of weights.",
            "Write s3://bucket/prefix/adapters/KEY/DIGEST or s3://bucket/prefix/weights/KEY/DIGEST.",
        )
    parameters = next(kind for kind, name in FOLDERS.items() if name == found["folder"])
    release(open_store(found["root"]), Trained(parameters, found["place"], digest), folder)


def release(store: Store, trained: Trained, folder: Path) -> None:
    """Copy what was trained out of the store, to be served or given away, and check it.

    Whatever leaves the store goes through here: serving pods (``fetch-trained``) and ``thinksafe export``.

    Args:
        store: Holds it.
        trained: Its place and digest.
        folder: Created here.

    Raises:
        StoreError: there are no files, or they are not those that the digest names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fetch_trained(store, trained, folder)
