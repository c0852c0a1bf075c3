"""Everything in some stores: the models in the order in which they need a person."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from thinksafe.fleet import attention
from thinksafe.fleet.facts import ModelFacts, Reason, StoreFacts
from thinksafe.fleet.kept import Kept, KeptStore
from thinksafe.fleet.reading import read_store


class Row(NamedTuple):
    """A model with what it needs."""

    model: ModelFacts
    reasons: tuple[Reason, ...]

    @property
    def state(self) -> str:
        """The first reason's state."""
        return self.reasons[0].state


class Fleet(NamedTuple):
    """What the page and the metrics show."""

    now: float
    """Unix time of the look."""
    stores: tuple[StoreFacts, ...]
    rows: tuple[Row, ...]
    """The most urgent first; then by name and store."""

    @property
    def problems(self) -> list[str]:
        """Everything that could not be read."""
        return [
            problem for store in self.stores
            for problem in (
                *([store.problem] if store.problem else []), *store.problems,
                *(problem for model in store.models for problem in model.problems),
            )
        ]


def survey(roots: Sequence[str], now: float, kept: Kept) -> tuple[Fleet, Kept]:
    """Read stores.

    Args:
        roots: Folders and ``s3://bucket/prefix``; each counts once.
        now: Unix time.
        kept: What an earlier look has read.

    Returns:
        The fleet, and what the next look need not read again.

    Raises:
        ConfigError: an address is malformed, or there are no credentials.
    """
    unique = list(dict.fromkeys(roots))
    with ThreadPoolExecutor(max(len(unique), 1)) as pool:
        read = list(pool.map(lambda root: read_store(root, kept.stores.get(root, KeptStore()), now), unique))
    stores = tuple(facts for facts, _ in read)
    rows = [
        Row(model, tuple(attention.reasons(model, now))) for store in stores for model in store.models
    ]
    rows.sort(key=lambda row: (attention.place(row.reasons), row.model.name, row.model.root))
    now_kept = Kept(stores={root: store for root, (_, store) in zip(unique, read, strict=True)})
    return Fleet(now, stores, tuple(rows)), now_kept
