"""The records of one task in all runs of a store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from thinksafe.run.record import StageRecord, find_record
from thinksafe.store import Store

WORKERS = 10
"""Objects that are read at a time: as many as boto3 keeps connections."""


def records_of(store: Store, task: str) -> Iterator[StageRecord]:
    """Yield the record that a task has left in each run, where there is one that can be read; in no order of time.

    Raises:
        StoreError: the store failed.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        for record in pool.map(lambda run: find_record(store, run, task), store.folders("runs/")):
            if record is not None:
                yield record
