"""Grading of problems: find the stated answer after the thought, compare it with the reference.

Plain numbers, by far the most common case, are compared directly; :mod:`thinksafe.equality` decides about the rest.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from thinksafe.equality import equal_expressions
from thinksafe.records import Grade, Sample
from thinksafe.traces import split

# possessive, so that an answer of newlines costs no quadratic time
_STATED = re.compile(r"answer\s*+(?:is|=|:)\s*+:?\s*+(.+?)(?=$|\n|\.\s|\.$)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(.+)")
_DIGITS = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|[-+]?\.\d+"
_NUMBER = re.compile(_DIGITS)
_QUANTITY = re.compile(rf"(?P<number>{_DIGITS})(?:\.?|\s+[^\W\d_]{{2,}}(?:\s+[^\W\d_]+)*)")
"""A number, perhaps with a unit in words: "72", "72.", "18 dollars", not "3 x" or "1,2"."""


def grade(sample: Sample, reasoning: Literal["think", "none"]) -> Grade:
    """Grade one sample of a problem with a reference answer.

    An unfinished thought or a response cut by max_tokens is truncated and never correct.
    """
    trace = split(sample.response, reasoning)
    truncated = not trace.complete or sample.finish == "length"
    extracted = None if truncated else extract_answer(trace.answer)
    correct = extracted is not None and equal_answers(sample.prompt.answer or "", extracted)
    return Grade(sample_id=sample.id, correct=correct, extracted=extracted, truncated=truncated)


def extract_answer(text: str) -> str | None:
    r"""Return the answer that a text states, or None.

    The last ``\boxed{...}`` counts; without one the last line of the form "answer is ..." or "#### ..."; without
    that the last number.
    """
    if (boxed := _last_boxed(text)) is not None:
        return boxed
    for pattern in (_HASHES, _STATED):
        if found := pattern.findall(text):
            return str(found[-1]).strip().strip("*$ ").rstrip(".") or None
    numbers = _NUMBER.findall(text)
    return str(numbers[-1]) if numbers else None


def _last_boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed")
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin + 1 : place].strip() or None
    return None


def equal_answers(reference: str, extracted: str) -> bool:
    """Return whether an extracted answer equals the reference ("72.00", "$72", "72." and "1,000" are numbers)."""
    left, right = _number(reference), _number(extracted)
    if left is not None and right is not None:
        return left == right
    return equal_expressions(reference, extracted)


def _number(text: str) -> Decimal | None:
    plain = text.strip().removeprefix("\\$").strip("$ ").replace("\N{MINUS SIGN}", "-")
    found = _QUANTITY.fullmatch(plain)
    return Decimal(found["number"].replace(",", "")) if found else None
