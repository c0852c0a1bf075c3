"""One worker: takes chunks of an order until none is left."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from thinksafe.errors import ConfigError, known_error
from thinksafe.run.manifests import has_chunk
from thinksafe.run.told import ToldError
from thinksafe.store import Store
from thinksafe.work.claims import Claims
from thinksafe.work.order import ChunkSet, Order, announce, error_key, read_order

Opener = Callable[[Store, Mapping[str, Any], Mapping[str, Path]], Iterator[ChunkSet]]
"""Opens the sets of a stage one after the other, from the store, its section and its input files by name."""


def work_on(address: str, worker: int, opener: Opener | Mapping[str, Opener]) -> None:
    """Make chunks of an order, of one set after the other.

    Args:
        address: Address of the order.
        worker: This worker, from 0.
        opener: Opens the sets, or what does, by stage.

    Raises:
        ConfigError: there is no such order, or no such worker in it.
        ThinkSafeError: the work failed; the error is in the store, too.
    """
    with tempfile.TemporaryDirectory() as folder:
        store, order = read_order(address, Path(folder))
        if not 0 <= worker < order.workers:
            raise ConfigError(
                f"Worker {worker} is not one of the {order.workers} of {address}.", "Workers count from 0."
            )
        store.delete(error_key(order, worker))  # of an earlier attempt
        try:
            opens = opener[order.stage] if isinstance(opener, Mapping) else opener
            files = {name: Path(folder, name) for name in order.inputs}
            _work(store, order, worker, opens(store, order.section, files))
        except Exception as error:
            told = ToldError.of(known_error(error))
            store.put(error_key(order, worker), told.model_dump_json().encode())
            raise


def _work(store: Store, order: Order, worker: int, sets: Iterator[ChunkSet]) -> None:
    number, chunks = 0, next(sets, None)
    while chunks is not None:
        keys = list(chunks.keys)
        announce(store, order, number, chunks)
        claims = Claims(store, order.scope(number), len(keys), worker, order.workers)
        with claims.alive() as advance:
            for chunk in chunks.make(claims.take(_looker(store, keys)), advance):
                claims.finish(chunk.index)
        chunks = None  # two guards may not fit into memory together
        number, chunks = number + 1, next(sets, None)


def _looker(store: Store, keys: Sequence[str]) -> Callable[[int], bool]:
    return lambda index: has_chunk(store, keys[index])
