"""The records of one task in all runs of a store."""

from __future__ import annotations

from collections.abc import Iterator

from thinksafe.run.record import StageRecord, find_record
from thinksafe.store import Store
from thinksafe.store.several import several


def records_of(store: Store, task: str) -> Iterator[StageRecord]:
    """Yield the record that a task has left in each run, where there is one that can be read; in no order of time.

    Raises:
        StoreError: the store failed.
    """
    for record in several(lambda run: find_record(store, run, task), store.folders("runs/")):
        if record is not None:
            yield record
