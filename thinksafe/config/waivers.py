"""Configuration of waivers, and the checks that can be waived."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from thinksafe.config.checks import find
from thinksafe.records import Text
from thinksafe.settings import Section


def objection(check: str, known: Iterable[str]) -> tuple[str, list[str]] | None:
    """Return why a check cannot be waived, and the names of those that can; None if it can be."""
    names = list(known)
    allowed = [name for name in names if (spec := find(name)) is not None and spec.waivable]
    if check in allowed:
        return None
    why = "cannot be waived: it says whether there is evidence" if check in names else "is not a check of this gate"
    return why, allowed


def _iso_date(value: Any) -> Any:
    """Accept only dates and ISO 8601 texts: pydantic would read a number as a Unix time."""
    if isinstance(value, str):
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError("there is no such date; write one as YYYY-MM-DD") from None
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        raise ValueError("write a date as YYYY-MM-DD")
    return value


Person = Annotated[
    str, Field(pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$", max_length=200)
]
"""Name of a person: one line, not blank."""


class Waiver(Section):
    """A named person's decision that, for a time, a failed check does not stop the candidate."""

    check: Text
    """Name of the check, as in the decision."""
    person: Person
    """Person who is responsible for it."""
    reason: Annotated[str, Field(pattern=r"\S", max_length=1000)]
    """Why it is acceptable."""
    expires: Annotated[datetime.date, BeforeValidator(_iso_date)]
    """Last day (UTC) on which it is valid."""
