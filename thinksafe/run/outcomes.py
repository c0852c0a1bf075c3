"""Outcomes in the store: what each prompt of an evaluation came to, for comparisons that are made later."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from thinksafe.digests import digest_file
from thinksafe.errors import DamagedError
from thinksafe.jsonl import read_records
from thinksafe.records import Outcome
from thinksafe.store import Store


def outcomes_key(digest: str) -> str:
    """Return the key of the outcomes whose file has this digest."""
    return f"outcomes/{digest}.jsonl"


def keep_outcomes(store: Store, path: Path) -> str:
    """Put a file of outcomes into the store and return its digest."""
    digest = digest_file(path)
    store.put_file(outcomes_key(digest), path)
    return digest


def read_outcomes(store: Store, digest: str) -> Iterator[Outcome]:
    """Yield the outcomes of a digest.

    Raises:
        MissingError: they are not in the store.
        DamagedError: they are not those that were put there.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.jsonl"
        store.get_file(outcomes_key(digest), path)
        if digest_file(path) != digest:
            raise DamagedError(
                f"The object {outcomes_key(digest)} was changed.", "Delete it and start the run again."
            )
        yield from read_records(path, Outcome)
