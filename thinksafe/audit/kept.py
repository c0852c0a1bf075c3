"""Scores of audits beside the runs that they are about: ``audits/<run id>/<digest>.json`` in the store.

The digest is the scores' own, so that an audit is never overwritten by another, and the same one is kept once. Nothing
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
    """Keep scores with their run and return the key.

    Raises:
        InputError: the scores are of another run, or of several.
        StoreError: the store failed.
    """
    if scores.run_ids != (run_id,):
        raise InputError(
            f"These labels are about {', '.join(scores.run_ids)}, not about {run_id}.", "Name the run of the sample."
        )
    data = canonical_json(scores).encode() + b"\n"
    key = f"audits/{run_id}/{digest_bytes(data)}.json"
    with suppress(ConflictError):  # the same scores were kept before
        store.create(key, data)
    return key


def kept(store: Store, run_id: str) -> list[AuditScores]:
    """Return all scores that were kept with a run, those with the most labels first.

    Raises:
        InputError: an object there holds no scores.
        StoreError: the store failed.
    """
    found = []
    for key in store.keys(f"audits/{run_id}/"):
        try:
            found.append(AuditScores.model_validate_json(store.get(key)))
        except ValidationError as error:
            raise InputError(
                f"{store.uri(key)} holds no scores of an audit.", "Delete it; score the labels again."
            ) from error
    return sorted(found, key=lambda scores: (-scores.labels, canonical_json(scores)))
