"""Grading of problems: find the stated answer after the thought, compare it with the reference.

math-verify decides whether two expressions are equal; plain decimal numbers, by far the most common case, are compared
directly because they need no computer algebra.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Literal

from thinksafe.records import Grade, Sample
from thinksafe.traces import split

_STATED = re.compile(r"(?:final\s+)?answer\s*(?:is|=|:)\s*:?\s*(.+?)(?=$|\n|\.\s|\.$)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(.+)")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")


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
    """Return the answer that a text states, or None.

    The last ``\\boxed{...}`` counts; without one the last line of the form "answer is ..." or "#### ..."; without
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
    from math_verify import parse, verify

    # no time limits: math-verify implements them with SIGALRM, which only works in a main thread
    gold = parse(f"${reference}$", parsing_timeout=None)
    answer = parse(f"${extracted}$", parsing_timeout=None)
    return bool(verify(gold, answer, timeout_seconds=None))


def _number(text: str) -> Decimal | None:
    text = text.strip().strip("$").removesuffix(".").replace(",", "").strip()
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
