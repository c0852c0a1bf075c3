"""Append-only series of objects in the store, such as the promotion ledger.

The objects of a series count from 1 without gaps and are written with a conditional create, so exactly one of several
racing writers wins a number, and the others learn who won.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from thinksafe.errors import ConfigError, ConflictError, StoreError
from thinksafe.records import Record
from thinksafe.store import Store
from thinksafe.store.several import WORKERS, several

R = TypeVar("R", bound=Record)

BACKUP = "Restore it from a backup."
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def model_folder(root: str, model: str) -> str:
    """Return the key of a registered model's folder. Raises ConfigError for a name that cannot be such a model."""
    if not _NAME.fullmatch(model):
        raise ConfigError(
            f"{model[:80]!r} is not a registered model name.", "Use lower-case letters, digits, '.', '_' and '-'."
        )
    return f"{root}/{model}/"


@dataclass(frozen=True)
class Series(Generic[R]):
    """One series.

    Args:
        store: Artifact store.
        prefix: Its folder; nothing else may lie there.
        record: Type of the objects.
        name: What the series is called, for messages.
        item: What one of its objects is called, with an article.
        stranger: Returns what an object is whose content belongs under another number or into another series; empty
            for one in its place.
    """

    store: Store
    prefix: str
    record: type[R]
    name: str
    item: str
    stranger: Callable[[R, int], str]

    def key(self, number: int) -> str:
        """Return the store key of an object."""
        return f"{self.prefix}{number:06d}.json"

    def count(self) -> int:
        """Return how many objects there are. Raises StoreError if one before the last is missing."""
        found = set(self.store.keys(self.prefix))
        for number in range(1, len(found) + 1):
            if self.key(number) not in found:
                stray = sorted(key for key in found if not re.fullmatch(r"[0-9]{6,}\.json", key[len(self.prefix) :]))
                if stray:
                    raise StoreError(
                        f"{self.store.uri(stray[0])} does not belong in {self.name}.", "Move it elsewhere."
                    )
                raise self._gap(number)
        return len(found)

    def read(self, number: int) -> R:
        """Return an object. Raises StoreError if it is missing, malformed or not the one of its place."""
        key = self.key(number)
        try:
            found = self.record.model_validate_json(self.store.get(key))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "entry"
            raise StoreError(f"{self.store.uri(key)} is not {self.item} ({where}: {first['msg']}).", BACKUP) from error
        if stranger := self.stranger(found, number):
            raise StoreError(f"{self.store.uri(key)} is {stranger}.", BACKUP)
        return found

    def all(self, workers: int = WORKERS) -> list[R]:
        """Return all objects, oldest first, reading some at a time (:func:`thinksafe.store.several.several`).

        Raises StoreError: see :meth:`count` and :meth:`read`.
        """
        return several(self.read, range(1, self.count() + 1), workers)

    def append(self, number: int, record: R) -> None:
        """Write an object under the next number.

        Raises:
            ConflictError: another writer took the number.
            StoreError: the object before is missing, or the store failed (whether the object was written is then
                unknown: read before writing again).
        """
        if number > 1 and not self.store.exists(self.key(number - 1)):
            raise self._gap(number - 1)
        data = record.model_dump_json(indent=2).encode() + b"\n"
        try:
            self.store.create(self.key(number), data)
        except ConflictError:
            # A repeated request whose first answer got lost finds its own object.
            if self.store.get(self.key(number)) != data:
                raise

    def _gap(self, number: int) -> StoreError:
        return StoreError(
            f"{self.name[0].upper()}{self.name[1:]} lacks {self.store.uri(self.key(number))}.",
            "Restore it from a backup of the store; there must be no gaps.",
        )
