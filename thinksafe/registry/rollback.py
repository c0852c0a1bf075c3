"""Roll the champion back: append a generation that points to an earlier target, or to none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thinksafe.errors import ConfigError, ConflictError
from thinksafe.registry import ledger
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.mlflow_client import connect, missing_ok, reporting, resolve_tracking_uri
from thinksafe.registry.registration import (
    champion_version,
    set_champion,
    trained_of,
    verify_candidate,
    verify_version,
)
from thinksafe.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from thinksafe.registry.signed import Seal

TAKEN_BACK = "thinksafe.taken_back"
"""Tag of a rolled-back version with the generation that did it; the suffixes ``_by`` and ``_reason`` add who and
why."""


def rollback(
    store: Store, model: str, *, to: int | None, reason: str, who: str | None = None, tracking_uri: str = "",
    of: int | None = None, seal: Seal | None = None, signs: bool = False,
) -> LedgerEntry:
    """Make an earlier target champion again and return the new generation.

    Nothing is removed: the ledger grows by one generation. The target's files and MLflow version are checked first.
    The same command completes, and does not repeat, a rollback that was interrupted between ledger and alias.

    Args:
        store: Artifact store with the ledger and the adapters.
        model: Registered model name.
        to: Generation to return to. By default the last one with another target before the current target was promoted;
            so repeated rollbacks go further back, never forward to what was rolled back. A named generation may have
            been rolled back itself: it is reinstated.
        reason: Why; recorded.
        who: Who acts; found by :func:`thinksafe.registry.ledger.actor` when None.
        tracking_uri: MLflow server; MLFLOW_TRACKING_URI when empty.
        of: Roll back only this generation; by default the newest, whichever it is.
        seal: Checks that ledger and target are signed; None where nothing is signed.
        signs: Sign the new generation, too, with the private key of ``seal``.

    Raises:
        ConfigError: there is nothing earlier, ``to`` is not an earlier generation with another target, or the rollback
            needs a signature and ``signs`` is off.
        SignatureError: the ledger or the target's files are not what a trusted signer signed.
        ConflictError: somebody else changed the ledger in the meantime; names them.
        StoreError: the target's files are missing or changed.
        StageError: MLflow failed; the same command can be repeated.
    """
    uri = resolve_tracking_uri(tracking_uri)
    past = ledger.entries(store, model)
    if not past:
        raise ConfigError(f"Nothing has been promoted to {model!r} yet.", "Check the model name and the store.")
    current = past[-1]
    _require(current, of)
    client = connect(uri)
    if current.action == "rollback":
        unfinished = champion_version(client, uri, model) != current.version
        if unfinished if to is None else _same(past, to):
            asked = earlier(past[:-1]) if to is None else past[to - 1]
            if seal is not None and signs and asked.target == current.target:
                seal.ensure_signed(current.generation)
            return _follow(store, model, client, uri)
    target = earlier(past) if to is None else _named(past, to)
    if seal is not None:
        seal.require_servable(target.generation)
    verify_candidate(store, target.target)
    verify_version(client, uri, model, target.version, trained_of(target.target))
    entry = LedgerEntry(
        model=model, generation=current.generation + 1, previous=current.generation, action="rollback",
        target=target.target, version=target.version, run_id=target.run_id, digests=target.digests,
        reason=" ".join(reason.split()) or "none given", who=who or ledger.actor(), created=ledger.now(),
        waivers=target.waivers, approvals=target.approvals,
    )
    if seal is not None and signs:
        seal.require_signer()
    elif seal is not None:
        _require_signature(past, entry)
    ledger.append(store, entry)
    if seal is not None and signs:
        seal.ensure_signed(entry.generation)
    _follow(store, model, client, uri)
    return entry


def _require_signature(past: list[LedgerEntry], entry: LedgerEntry) -> None:
    """Raise ConfigError for a rollback that nobody will accept unless it is signed."""
    from thinksafe.registry.signed import follows

    if not follows(past, entry):
        raise ConfigError(
            f"This rollback of {entry.model!r} has to be signed: only a return from a promotion to the generation "
            "before it needs no signature.",
            "Give the private key (--private-key), or for kind keyless an identity (docs/governance.md).",
        )


def withdraw(
    store: Store, model: str, *, reason: str, who: str | None = None, tracking_uri: str = "", of: int | None = None
) -> LedgerEntry:
    """Withdraw the champion without a replacement and return the new generation.

    The ledger grows by one generation, and the alias is removed. The same command completes, and does not repeat, an
    interrupted withdrawal.

    Args:
        store: Artifact store with the ledger.
        model: Registered model name.
        reason: Why; recorded.
        who: Who acts; found by :func:`thinksafe.registry.ledger.actor` when None.
        tracking_uri: MLflow server; MLFLOW_TRACKING_URI when empty.
        of: Roll back only this generation; by default the newest, whichever it is.

    Raises:
        ConfigError: nothing has been promoted yet.
        ConflictError: somebody else changed the ledger in the meantime; names them.
        StageError: MLflow failed; the same command can be repeated.
    """
    uri = resolve_tracking_uri(tracking_uri)
    current = ledger.newest(store, model)
    if current is None:
        raise ConfigError(f"Nothing has been promoted to {model!r} yet.", "Check the model name and the store.")
    client = connect(uri)
    champion_version(client, uri, model)  # MLflow must answer before the ledger changes
    if current.action != "withdraw" or (of is not None and current.previous != of):
        _require(current, of)
        current = current.model_copy(update={
            "generation": current.generation + 1, "previous": current.generation, "action": "withdraw",
            "reason": " ".join(reason.split()) or "none given", "who": who or ledger.actor(), "created": ledger.now(),
        })
        ledger.append(store, current)
    _follow(store, model, client, uri)
    return current


def _require(current: LedgerEntry, of: int | None) -> None:
    if of is not None and current.generation != of:
        raise ConflictError(
            f"Generation {of} of {current.model!r} is no longer the newest: there is {ledger.describe(current)}.",
            "Nothing was changed; check the current ledger.",
        )


def tag_taken_back(store: Store, model: str, client: MlflowClient, uri: str) -> None:
    """Tag the versions that were rolled back according to the ledger, and no others. Raises StageError, StoreError."""
    past = ledger.entries(store, model)
    gone = {taken.entry.version: taken.by for taken in ledger.taken_back(past).values()}
    with reporting(uri, f"tag versions of {model!r}"):
        for version in sorted({entry.version for entry in past}, key=int):
            with missing_ok():  # deleted by hand
                known = client.get_model_version(model, version).tags
                by = gone.get(version)
                tags = {TAKEN_BACK: "", f"{TAKEN_BACK}_by": "", f"{TAKEN_BACK}_reason": ""}
                if by is not None:
                    tags = dict(zip(tags, (f"generation {by.generation}", by.who, by.reason[:500]), strict=True))
                for key, value in tags.items():
                    if value and known.get(key) != value:
                        client.set_model_version_tag(model, version, key, value)
                    elif not value and key in known:
                        client.delete_model_version_tag(model, version, key)


def complete(store: Store, model: str, *, tracking_uri: str = "") -> LedgerEntry:
    """Bring MLflow in line with an existing ledger, and return its newest generation.

    Raises:
        StageError: nothing has been promoted yet, or MLflow failed; the call can be repeated.
    """
    uri = resolve_tracking_uri(tracking_uri)
    return _follow(store, model, connect(uri), uri)


def _follow(store: Store, model: str, client: MlflowClient, uri: str) -> LedgerEntry:
    """Bring tags and alias in line with the ledger; the alias comes last and so shows an interrupted rollback."""
    tag_taken_back(store, model, client, uri)
    return set_champion(store, model, client, uri)


def _same(past: list[LedgerEntry], to: int) -> bool:
    """Return whether a generation has the target that is champion now."""
    current = past[-1]
    return (
        current.action != "withdraw" and 1 <= to < len(past) and past[to - 1].action != "withdraw"
        and past[to - 1].target.digest == current.target.digest
    )


def _named(past: list[LedgerEntry], to: int) -> LedgerEntry:
    current = past[-1]
    if not 1 <= to < current.generation:
        raise ConfigError(
            f"{current.model!r} has no generation {to} before its current one, {current.generation}.",
            "Choose an earlier generation with --to." if current.generation > 1 else "There is nothing to return to.",
        )
    if _same(past, to):
        raise ConfigError(
            f"Generation {to} of {current.model!r} has the target that is champion now.", "Choose another with --to."
        )
    if past[to - 1].action == "withdraw":
        raise ConfigError(
            f"Generation {to} of {current.model!r} is a withdrawal and has no champion.", "Choose another with --to."
        )
    return past[to - 1]


def earlier(past: list[LedgerEntry]) -> LedgerEntry:
    """Return the default generation of a rollback: the last one with another target before this one's.

    Rolled-back generations are skipped, and the search stops at a withdrawal.

    Raises:
        ConfigError: there is none.
    """
    current, gone = past[-1], ledger.taken_back(past)
    if current.action == "withdraw":
        raise ConfigError(
            f"{current.model!r} has no champion: the last is {ledger.describe(current)}.",
            "Choose a generation with --to.",
        )
    promoted = [e.generation for e in past if e.action == "promote" and e.target.digest == current.target.digest]
    for entry in reversed(past[: max(promoted, default=1) - 1]):
        if entry.action == "withdraw":
            break
        if entry.target.digest != current.target.digest and entry.target.digest not in gone:
            return entry
    raise ConfigError(
        f"{current.model!r} has no champion before run {current.run_id}'s to return to.",
        "Choose a generation with --to, or leave no champion with --withdraw.",
    )
