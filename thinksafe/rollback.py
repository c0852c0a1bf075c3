"""Roll the champion back: append a generation that points at an earlier target."""

from __future__ import annotations

from thinksafe import ledger
from thinksafe.errors import ConfigError
from thinksafe.ledger import LedgerEntry
from thinksafe.mlflow_client import connect, resolve_tracking_uri
from thinksafe.registry import champion_version, set_champion, verify_adapter, verify_version
from thinksafe.store import Store


def rollback(
    store: Store, model: str, *, to: int | None, reason: str, who: str | None = None, tracking_uri: str = ""
) -> LedgerEntry:
    """Make an earlier target champion again and return the generation that says so.

    Nothing is removed: the ledger grows by one generation. The target's files and MLflow version are checked first.
    A rollback that was cut off between ledger and alias is completed by the same command, not repeated.

    Args:
        store: Artifact store that holds ledger and adapters.
        model: Registered model name.
        to: Generation to return to. By default the last one before the current target was promoted that has another
            target; so repeated rollbacks go further back and never forward to what was rolled back.
        reason: Why; recorded.
        who: Who acts; found by :func:`thinksafe.ledger.actor` when None.
        tracking_uri: MLflow server; MLFLOW_TRACKING_URI when empty.

    Raises:
        ConfigError: there is nothing earlier, or ``to`` is no earlier generation with another target.
        ConflictError: somebody else moved the ledger meanwhile; names them.
        StoreError: the target's files are missing or changed.
        StageError: MLflow failed; the same command can be repeated.
    """
    uri = resolve_tracking_uri(tracking_uri)
    past = ledger.entries(store, model)
    if not past:
        raise ConfigError(f"Nothing was promoted to {model!r} yet.", "Check the model name and the store.")
    current = past[-1]
    client = connect(uri)
    if current.action == "rollback":
        unfinished = champion_version(client, uri, model) != current.version
        if unfinished if to is None else _same(past, to):
            return set_champion(store, model, client, uri)
    target = earlier(past) if to is None else _named(past, to)
    verify_adapter(store, target.target)
    verify_version(client, uri, model, target.version, target.digests.adapter)
    entry = LedgerEntry(
        model=model, generation=current.generation + 1, previous=current.generation, action="rollback",
        target=target.target, version=target.version, run_id=target.run_id, digests=target.digests,
        reason=" ".join(reason.split()) or "none given", who=who or ledger.actor(), created=ledger.now(),
        waivers=target.waivers,
    )
    ledger.append(store, entry)
    set_champion(store, model, client, uri)
    return entry


def _same(past: list[LedgerEntry], to: int) -> bool:
    return 1 <= to < len(past) and past[to - 1].target.digest == past[-1].target.digest


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
    return past[to - 1]


def earlier(past: list[LedgerEntry]) -> LedgerEntry:
    """Return the generation that a rollback without a number goes to: the last with another target before this one's.

    Raises:
        ConfigError: there is none.
    """
    current = past[-1]
    promoted = [e.generation for e in past if e.action == "promote" and e.target.digest == current.target.digest]
    for entry in reversed(past[: max(promoted, default=1) - 1]):
        if entry.target.digest != current.target.digest:
            return entry
    raise ConfigError(
        f"{current.model!r} has no champion before run {current.run_id}'s to return to.",
        "Serve the base model, or choose a generation with --to.",
    )
