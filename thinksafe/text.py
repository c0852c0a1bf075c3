"""Format numbers and untrusted text for display."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime

from thinksafe.records import Interval

LIMIT = 400
"""Characters of one text on the page; longer text is cut and marked."""

DASH = "–"  # noqa: RUF001
"""Shown in place of a missing number."""

# line and paragraph controls, surrogates and marks that reverse the direction of the following text
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
_COMBINING_RUN = 4


def clean(text: str, limit: int = LIMIT) -> str:
    """Return text that is safe to lay out: no controls, no reversed direction, no stacked accents, limited length.

    Markup is left in place; the page escapes it.

    Args:
        text: Any text, lone surrogates included.
        limit: Characters to keep; the number of characters cut is appended.
    """
    cut = len(text) - limit
    text = _UNPRINTABLE.sub("\ufffd", text[:limit])
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= _COMBINING_RUN:
            kept.append(character)
    return "".join(kept) + (f"… ({cut:,} more characters)" if cut > 0 else "")


def label(text: str, limit: int) -> str:
    """Return text as one line of at most ``limit`` characters, for pictures."""
    line = " ".join(clean(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; a dash for None."""
    return DASH if value is None else f"{_signed_zero(100 * value, digits):.{digits}f}\u00a0%".replace("-", "\u2212")


def points(value: float | None, digits: int = 1) -> str:
    """Return a difference of shares in percentage points; a dash for None."""
    return DASH if value is None else percent(value, digits).replace("%", "points")


def bracket(interval: Interval | None, digits: int = 1) -> str:
    """Return the limits of a share's interval in percent, ``[low, high]``; a dash for None."""
    if interval is None:
        return DASH
    low, high = (_signed_zero(100 * limit, digits) for limit in (interval.low, interval.high))
    return f"[{low:.{digits}f}, {high:.{digits}f}]".replace("-", "\u2212")


def number_range(interval: Interval | None, digits: int) -> str:
    """Return the limits of an interval of plain numbers, ``[low, high]``; empty for None."""
    if interval is None:
        return ""
    return f"[{interval.low:.{digits}f}, {interval.high:.{digits}f}]".replace("-", "\u2212")


def count(value: float | None) -> str:
    """Return a count with thousands separated; a dash for None."""
    return DASH if value is None or not math.isfinite(value) else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def utc(seconds: float) -> str:
    """Return a Unix time as ISO 8601 in UTC, to the second."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return DASH


def plural(number: int, noun: str) -> str:
    """Return ``1 check`` or ``3 checks``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _signed_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0
