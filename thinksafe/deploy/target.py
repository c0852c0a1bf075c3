"""What to serve: one generation of the ledger, in the form that the manifests need."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from thinksafe.config.deploy import DeploySettings
from thinksafe.errors import ConfigError, StoreError
from thinksafe.models.loading import fetch_adapter_files
from thinksafe.models.ranks import max_lora_rank
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.store import Store


@dataclass(frozen=True)
class Target:
    """One generation, ready to be served."""

    generation: int
    run_id: str
    version: str
    adapter: str
    """Address of the adapter's folder: ``s3://bucket/prefix/adapters/...``."""
    digest: str
    """Digest over the adapter's files."""
    rank: int
    """Smallest ``max_lora_rank`` of vLLM that covers the adapter's rank."""
    model: str
    """Where vLLM loads the student from."""
    revision: str
    """Commit of a hub id; empty for a folder."""
    dtype: str
    trust_remote_code: bool


def target_of(store: Store, entry: LedgerEntry, settings: DeploySettings) -> Target:
    """Return a generation as a target. Reads the adapter's configuration from the store.

    Raises:
        ConfigError: a pod cannot read this store.
        StoreError: the adapter's configuration is missing or malformed, or vLLM does not support its rank.
    """
    address = store.uri(entry.target.adapter)
    if not address.startswith("s3://"):
        raise ConfigError(
            f"The adapter is at {address}, which a pod cannot read.", "Roll out from a store at s3://bucket/prefix."
        )
    key = f"{entry.target.adapter}/adapter_config.json"
    try:
        rank = json.loads(store.get(key))["r"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{store.uri(key)} contains no rank.", "Start the run again from training.") from error
    student = entry.target.student
    own = not settings.model or settings.model == student.model
    return Target(
        generation=entry.generation, run_id=entry.run_id, version=entry.version, adapter=address,
        digest=entry.digests.adapter, rank=max_lora_rank(rank), model=settings.model or student.model,
        revision=student.revision if own else "", dtype=student.dtype, trust_remote_code=student.trust_remote_code,
    )


def fetch(address: str, digest: str, folder: Path) -> None:
    """Copy an adapter from its address into a folder and check it: the work of the init container.

    Args:
        address: ``s3://bucket/prefix/adapters/...``, or the path of a folder.
        digest: Digest over the adapter's files.
        folder: Created here; vLLM loads from it.

    Raises:
        ConfigError: the address has no folder name.
        StoreError: a file is missing, or the adapter is not the one that the digest names.
    """
    from thinksafe.store import open_store

    root, slash, name = address.rstrip("/").rpartition("/")
    if not slash or not root or root.endswith("/"):
        raise ConfigError(f"{address[:200]!r} is not the address of an adapter.", "Write s3://bucket/prefix/adapters/NAME.")
    folder.mkdir(parents=True, exist_ok=True)
    fetch_adapter_files(open_store(root), name, digest, folder)
