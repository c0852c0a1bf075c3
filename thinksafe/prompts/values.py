"""Values of a table's cells: which are missing, how a number is written, what a filter matches."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from thinksafe.errors import InputError
from thinksafe.jsonl import require_characters

_POSITIONAL = 21
"""Numbers with at most this many digits before the point, or a few zeros after it, are written without an exponent."""


def plain(value: Any) -> Any:
    """Return a cell with None for NaN, which pandas, parquet and JSON writers use for a missing value."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float | Decimal) and math.isnan(value) else value


def is_text(value: Any) -> bool:
    """Return whether a cell is a text or a finite number, so that it can stand in a prompt."""
    if isinstance(value, str):
        return True
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value)


def text_of(value: Any) -> str:
    """Return a cell as text: numbers in their shortest form (``0.1``, ``72`` for 72.0), JSON's words for truth values.

    A missing value gives the empty text.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and math.isfinite(value):
        number = Decimal(repr(value) if isinstance(value, float) else value).normalize()
        if -7 <= number.adjusted() < _POSITIONAL:
            return f"{number:f}" if number else "0"
        return f"{number:g}".lower() if isinstance(value, Decimal) else repr(value)
    return str(value)


def texts_of(value: Any, field: str, where: str) -> list[str] | None:
    """Return a list of texts, which is JSON in a CSV field; None if there is nothing.

    Raises:
        InputError: it is something else, or one of the texts is blank.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(isinstance(item, str) and not blank(item) for item in value):
        raise InputError(f"{where}: the field {field!r} must be a list of texts.", "Correct the row.")
    return value


def matches(value: Any, wanted: str) -> bool:
    """Return whether a cell equals the text of a filter: numbers as numbers, truth values in any case.

    ``"1"`` matches 1.0, and ``"true"`` matches JSON's true. A text matches itself alone; the empty text matches a
    missing value.
    """
    if isinstance(value, bool):
        return wanted.casefold() == text_of(value)
    if isinstance(value, int | float | Decimal):
        try:
            return Decimal(wanted) == Decimal(text_of(value))
        except InvalidOperation:
            return False
    return text_of(value) == wanted


def blank(text: str) -> bool:
    """Return whether a text has nothing to read: only white space, controls and invisible characters."""
    return all(character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in text)


def require_unicode(fields: Mapping[str, Any], where: str) -> None:
    """Raise InputError if a text, or one in a list, has half of a surrogate pair."""
    for name, value in fields.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                require_characters(text, f"{where}: the field {name!r}")


class Filters:
    """The filters of a set of prompts; each must match a row, so that a misspelt value is no filter unnoticed.

    Args:
        only: Values that a row's fields must equal.
        exclude: Values of which its fields must equal none.
        contains: Texts that its fields must contain.
    """

    def __init__(
        self, only: Mapping[str, str], exclude: Mapping[str, str] | None = None,
        contains: Mapping[str, str] | None = None,
    ) -> None:
        self._given = [
            (kind, field, wanted)
            for kind, of in (("only", only), ("exclude", exclude or {}), ("contains", contains or {}))
            for field, wanted in of.items()
        ]
        self._idle = list(self._given)
        self._seen = False

    def keep(self, row: Mapping[str, Any], where: str) -> bool:
        """Return whether a row passes all filters. Raises InputError if it lacks a field."""
        self._seen = True
        kept = True
        for given in self._given:
            kind, field, wanted = given
            if field not in row:
                raise InputError(f"{where}: there is no field {field!r} to filter by.", "Correct the filter.")
            found = wanted in text_of(row[field]) if kind == "contains" else matches(row[field], wanted)
            if found and given in self._idle:
                self._idle.remove(given)
            kept = kept and found != (kind == "exclude")
        return kept

    def require_used(self, name: str) -> None:
        """Raise InputError if one of them matched no row of the set ``name``."""
        if self._seen and self._idle:
            kind, field, wanted = self._idle[0]
            raise InputError(
                f"The filter {kind}: {{{field}: {wanted!r}}} of the set {name!r} matches no row.",
                "Correct the value, or leave the filter out.",
            )


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs twice, None if there is none; names of white space do not count."""
    seen: set[str] = set()
    for name in names:
        if name in seen and name.strip():
            return name
        seen.add(name)
    return None
