"""Scores of audits in the store, filed under the run they are about: ``audits/<run id>/<digest>.json``.

The digest is that of the scores, so one audit never overwrites another, and the same audit is kept once. No stage
of a run depends on them; its report can show them.
"""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from thinksafe.audit.records import AuditScores
from thinksafe.digests import canonical_json, digest_bytes
from thinksafe.errors import ConflictError, InputError
from thinksafe.store import Store


def keep(store: Store, run_id: str, scores: AuditScores) -> str:
    """Store scores with their run and return the key.

    Raises:
        InputError: The scores are about another run, or about several.
        StoreError: the store failed.
    """
    if scores.run_ids != (run_id,):
        raise InputError(
            f"These labels are about {', '.join(scores.run_ids)}, not about {run_id}.", "Name the run of the sample."
        )
    data = canonical_json(scores).encode() + b"\n"
    key = f"audits/{run_id}/{digest_bytes(data)}.json"
    with suppress(ConflictError):  # the same scores are in the store already
        store.create(key, data)
    return key


def kept(store: Store, run_id: str) -> list[AuditScores]:
    """Return all scores stored with a run, those with the most labels first.

    Raises:
        InputError: An object there does not contain scores.
        StoreError: the store failed.
    """
    found = []
    for key in store.keys(f"audits/{run_id}/"):
        try:
            found.append(AuditScores.model_validate_json(store.get(key)))
        except ValidationError as error:
            raise InputError(
                f"{store.uri(key)} does not contain the scores of an audit.", "Delete it and score the labels again."
            ) from error
    return sorted(found, key=lambda scores: (-scores.labels, canonical_json(scores)))
