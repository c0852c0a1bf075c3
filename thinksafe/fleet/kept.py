"""What an earlier look at a store has read of objects that do not change, so that the next one reads only the rest.

It stands beside the page, serves speed alone and may be deleted: the page is the same without it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError

from thinksafe.fleet.facts import Point, RunNote
from thinksafe.records import Record


class KeptStore(Record):
    """Of one store."""

    evaluations: dict[str, tuple[str, Point]] = {}
    """By key, with the tag that changes when the object does."""
    promoted: dict[str, tuple[str, Point]] = {}
    """By run, with the digest of the metrics that the ledger names."""
    notes: dict[str, RunNote] = {}
    """By run; only those that have come to an end."""


class Kept(Record):
    """Of all stores, by root."""

    schema_version: Literal[1] = 1
    """Goes up when the same objects are read to other facts."""
    stores: dict[str, KeptStore] = {}


def parse(data: bytes) -> Kept:
    """Return what was kept; nothing where the file is of another version, or not one at all."""
    try:
        return Kept.model_validate_json(data)
    except ValidationError:
        return Kept()
