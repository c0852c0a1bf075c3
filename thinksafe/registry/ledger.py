"""The promotion ledger: append-only, the source of truth for the alias ``champion``.

Each promotion, rollback or withdrawal of a registered model is one object
``promotions/<model>/<generation>.json`` in the store. Generations count from 1 without gaps and are written with a
conditional create, so exactly one of several racing writers wins, and the others learn who won. MLflow's alias has no
such protection; it follows the ledger.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from thinksafe.config.model import Name
from thinksafe.errors import ConflictError
from thinksafe.models.references import ModelReference
from thinksafe.records import ApprovalUse, Record, Text, WaiverUse
from thinksafe.registry.series import Series, model_folder
from thinksafe.settings import StudentSettings
from thinksafe.store import Store
from thinksafe.store.several import WORKERS

ACTOR_VARIABLE = "THINKSAFE_ACTOR"
ROOT = "promotions"
"""Folder of the ledgers."""
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_CI_USERS = {"GITHUB_ACTOR": "github", "GITLAB_USER_LOGIN": "gitlab"}


class Digests(Record):
    """What a promoted model was made from and what decided on it; empty if unknown."""

    adapter: str = ""
    weights: str = ""
    """Of all weights, where they were trained; then there is no adapter."""
    base: Text
    data: str = ""
    """Digest of the training examples."""
    config: str = ""
    decision: str = ""
    metrics: str = ""
    """Digest of the candidate's metric set."""
    evidence: dict[str, str] = Field(default={}, exclude_if=lambda evidence: not evidence)
    """Where the ledger is signed: digests of the run's stage records by task, from which report and provenance are
    made."""


class LedgerEntry(Record):
    """One generation of a registered model's champion.

    Readers accept the ledgers of all versions: older ones have no ``withdraw``.
    """

    schema_version: Literal[1] = 1
    model: Name
    generation: Annotated[int, Field(ge=1)]
    previous: int | None
    """The generation before this one; None for the first."""
    action: Literal["promote", "rollback", "withdraw"]
    """``withdraw``: the target was withdrawn without a replacement; from here on there is no champion."""
    target: ModelReference
    """The model that becomes champion, or stops being champion; everything needed to load it."""
    version: Annotated[str, Field(pattern=r"^[0-9]+$")]
    """MLflow version of the target."""
    run_id: Text
    """Run that made the target; for a rollback, too."""
    digests: Digests
    reason: Text
    who: Text
    created: Text
    """ISO 8601, UTC."""
    waivers: tuple[WaiverUse, ...] = ()
    """Waivers without which the gate would have refused the target; a rollback has those of the promotion."""
    approvals: tuple[ApprovalUse, ...] = Field(default=(), exclude_if=lambda approvals: not approvals)
    """Approvals that the promotion needed; a rollback has those of the promotion."""

    @model_validator(mode="after")
    def _consistent(self) -> LedgerEntry:
        if self.previous != (self.generation - 1 or None):
            raise ValueError("previous is not the generation before")
        named = self.target.adapter_digest, self.target.weights_digest
        if self.target.absent or not self.target.trained or named != (self.digests.adapter, self.digests.weights):
            raise ValueError("the target was not trained, or is not what digests names")
        return self


def entry_key(model: str, generation: int) -> str:
    """Return the store key of a generation. Raises ConfigError for a name that cannot be a registered model."""
    return f"{model_folder(ROOT, model)}{generation:06d}.json"


def entries(store: Store, model: str, workers: int = WORKERS) -> list[LedgerEntry]:
    """Return all generations, oldest first.

    Args:
        store: Artifact store.
        model: Registered model name.
        workers: How many generations are read at a time.

    Raises:
        StoreError: a generation is missing or malformed; names its key.
    """
    return _series(store, model).all(workers)


def newest(store: Store, model: str) -> LedgerEntry | None:
    """Return the newest generation, which may be a withdrawal, or None if nothing has been promoted yet.

    Raises:
        StoreError: see :func:`entries`.
    """
    series = _series(store, model)
    count = series.count()
    return series.read(count) if count else None


def champion(store: Store, model: str) -> LedgerEntry | None:
    """Return the generation whose target is champion, or None if nothing was promoted or the last target was withdrawn.

    Raises:
        StoreError: see :func:`entries`.
    """
    entry = newest(store, model)
    return None if entry is None or entry.action == "withdraw" else entry


class TakenBack(NamedTuple):
    """A model that was champion and must not become champion again automatically."""

    entry: LedgerEntry
    """The generation that was rolled back."""
    by: LedgerEntry
    """The rollback or withdrawal, with its reason."""


def taken_back(past: Sequence[LedgerEntry]) -> dict[str, TakenBack]:
    """Return the models that were rolled back or withdrawn, by digest of the reference.

    A later promotion of the same model reinstates it. So does a rollback to it, which then rolls nothing back.

    Args:
        past: All generations, oldest first.
    """
    found: dict[str, TakenBack] = {}
    for before, entry in pairwise((None, *past)):
        assert entry is not None, "only the first has none before it"
        if entry.action == "withdraw":
            found[entry.target.digest] = TakenBack(before or entry, entry)
            continue
        reinstated = found.pop(entry.target.digest, None) is not None
        left = before is not None and before.action != "withdraw" and before.target.digest != entry.target.digest
        if entry.action == "rollback" and left and not reinstated:
            assert before is not None, "it was left"
            found[before.target.digest] = TakenBack(before, entry)
    return found


def champion_for_run(store: Store, model: str, run_id: str) -> LedgerEntry | None:
    """Return the champion to compare a run with: the newest generation whose target another run made.

    A run that promoted its own candidate and is then restarted thus decides against the same champion again, unless
    another run or a rollback to another run's model came in between. A model that was rolled back meanwhile does not
    count. None if there is no such generation, or if another run's was withdrawn and none followed.

    Raises:
        StoreError: see :func:`entries`.
    """
    past = entries(store, model)
    gone = taken_back(past)
    for entry in reversed(past):
        if entry.run_id == run_id:
            continue
        if entry.action == "withdraw":
            return None
        if entry.target.digest not in gone:
            return entry
    return None


def champion_reference(
    store: Store, model: str, student: StudentSettings, *, run_id: str | None = None
) -> ModelReference:
    """Return the champion as a model reference with the role ``champion``.

    Args:
        store: Artifact store.
        model: Registered model name.
        student: Student of the absent reference that is returned if there is no champion.
        run_id: Return the champion that this run is compared with (:func:`champion_for_run`); the newest by default.

    Raises:
        StoreError: see :func:`entries`.
    """
    entry = champion(store, model) if run_id is None else champion_for_run(store, model, run_id)
    if entry is None:
        return ModelReference(role="champion", absent=True, student=student, base_digest="")
    return entry.target


def append(store: Store, entry: LedgerEntry) -> None:
    """Write a new generation.

    Raises:
        ConflictError: another writer took the generation; names it. Read again and decide again.
        StoreError: the generation before is missing, or the store failed (whether the entry was written is then
            unknown: read before writing again).
    """
    series = _series(store, entry.model)
    try:
        series.append(entry.generation, entry)
    except ConflictError as error:
        winner = series.read(entry.generation)
        raise ConflictError(
            f"Generation {entry.generation} of {entry.model!r} went to {describe(winner)}.",
            "Nothing was changed here; decide again, against the new champion.",
        ) from error


def describe(entry: LedgerEntry) -> str:
    """Return who wrote an entry and what it does, for messages."""
    what = {"promote": "the promotion of", "rollback": "a rollback to", "withdraw": "the withdrawal of"}[entry.action]
    return f"{what} run {entry.run_id} by {entry.who} (generation {entry.generation}, {entry.created})"


def now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def actor() -> str:
    """Return who acts: THINKSAFE_ACTOR, else the Kubernetes service account, the CI user or the login name."""
    if named := " ".join(os.environ.get(ACTOR_VARIABLE, "").split()):
        return named
    if account := _service_account():
        return account
    for variable, system in _CI_USERS.items():
        if user := os.environ.get(variable, "").strip():
            return f"{system}:{user}"
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def _service_account() -> str:
    """Return the subject of the pod's token (a JWT, RFC 7519), which Kubernetes mounts; empty outside a pod."""
    try:
        payload = _SERVICE_ACCOUNT.read_text("ascii").split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    except (OSError, ValueError, IndexError, KeyError, TypeError, binascii.Error):
        return ""
    return subject if isinstance(subject, str) else ""


def _series(store: Store, model: str) -> Series[LedgerEntry]:
    def stranger(entry: LedgerEntry, generation: int) -> str:
        if (entry.model, entry.generation) == (model, generation):
            return ""
        return f"the entry of generation {entry.generation} of {entry.model!r}"

    return Series(
        store, model_folder(ROOT, model), LedgerEntry, "the promotion ledger", "a ledger entry", stranger
    )
