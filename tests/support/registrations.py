"""Adapters and weights in a store, and their versions in MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from thinksafe.config.model import RegistrySettings
from thinksafe.digests import digest_folder
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.records import Check, Decision
from thinksafe.registry import ledger
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.registry.mlflow_client import connect
from thinksafe.registry.registration import (
    Registration,
    register_candidate,
)
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

STUDENT = StudentSettings(model="micro://default")
DECISION = Decision(
    passed=True, stopped_by=None, summary="passed",
    checks=(Check(name="harm", passed=True, value=0.0, threshold=0.1, n=300, reason="ok"),),
)


def client_of(settings: RegistrySettings) -> Any:
    return connect(settings.tracking_uri)


def add_adapter(store: LocalStore, name: str, *, student: StudentSettings = STUDENT, **config: Any) -> ModelReference:
    """Put an adapter into the store as training does and return its reference."""
    folder = Path(store.root) / f"adapters/{name}"
    folder.mkdir(parents=True)
    noted = {"base_model_name_or_path": student.model, "revision": student.revision or None, "r": 4, **config}
    (folder / "adapter_config.json").write_text(json.dumps(noted))
    (folder / "adapter_model.safetensors").write_bytes(name.encode() * 100)
    return ModelReference(
        role="candidate", student=student, base_digest="base", adapter=f"adapters/{name}",
        adapter_digest=digest_folder(folder, ADAPTER_FILES),
    )


def add_weights(store: LocalStore, name: str) -> ModelReference:
    """Put all weights into the store as training does and return their reference."""
    folder = Path(store.root) / f"weights/{name}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(name.encode() * 100)
    return ModelReference(
        role="candidate", student=STUDENT, base_digest="base", weights=f"weights/{name}",
        weights_digest=digest_folder(folder),
    )


def register(
    store: LocalStore, settings: RegistrySettings, candidate: ModelReference, run_id: str = "run-1"
) -> Registration:
    return register_candidate(store, candidate, settings, run_id=run_id, data_digest="data", config_digest="config")


def entry_of(registration: Registration, candidate: ModelReference, generation: int) -> LedgerEntry:
    return LedgerEntry(
        model=registration.name, generation=generation, previous=generation - 1 or None, action="promote",
        target=candidate.model_copy(update={"role": "champion"}), version=registration.version,
        run_id=registration.run_id,
        digests=Digests(adapter=candidate.adapter_digest, weights=candidate.weights_digest, base="base"),
        reason="passed", who="ann", created=ledger.now(),
    )
