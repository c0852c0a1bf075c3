r"""Grading of problems: find the stated answer after the thought, compare it with the reference.

Plain numbers, by far the most common case, are compared directly; :mod:`thinksafe.judging.equality` (math-verify)
decides about the rest. Letters of options are read by :mod:`thinksafe.judging.letters`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from thinksafe.judging.boxes import boxes
from thinksafe.judging.equality import equal_expressions
from thinksafe.judging.letters import extract_letter
from thinksafe.records import Grade, Sample
from thinksafe.traces import split

# possessive, so that an answer of newlines does not take quadratic time
_STATED = re.compile(
    r"\banswer\s*+(?:is|=|:|(?:would|should|must)\s+be)\s*+:?\s*+(.+?)(?=$|\n|\.\s|\.$)", re.IGNORECASE
)
_HASHES = re.compile(r"####\s*(.+)")
_DIGITS = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|[-+]?\.\d+"
_NUMBER = re.compile(_DIGITS)
_CURRENCY = "$\u00a3\u20ac\u00a5\u20b9"
_QUANTITY = re.compile(rf"(?P<number>{_DIGITS})(?:\.?|\s*%|\s*\u00b0[CF]?|\s+[^\W\d_]{{2,}}(?:\s+[^\W\d_]+)*)")
"""A number, perhaps with a unit in words or signs: "72", "72.", "18 dollars", "25%", not "3 x" or "1,2"."""
_UNIT = r"(?:[^\W\d_]{2,8}|[mshglLNJWV])"
_RATE = re.compile(rf"(?P<number>{_DIGITS})(?:\s*{_UNIT})?\s*/\s*{_UNIT}\.?")
"""A number with a unit of the form "km/h" or "/week"."""
_CLAUSE = re.compile(
    rf"(?P<number>{_DIGITS})(?:\s+[^\W\d_]{{2,}}+)*?(?:\s*[,;]\s*[^\W\d_]{{2,}}|\s+\(|\s+(?:because|since|as)\s)"
)
"""A number that a remark follows: "72, because 8 times 9 is 72", not "72, 73" or "72 or 73"."""
_SPACED = re.compile(r"(?<=\d)(?:\\,|\\!|\{,\}|,\\!|\\ | )(?=\d{3}(?!\d))")
r"""What stands between thousands besides a comma: ``1{,}000``, ``1\,000``, ``1 000``."""
_FORMATS = re.compile(r"\\(?:text(?:bf|it|rm|sf)?|math(?:bf|rm|sf|it)|mbox)\s*\{([^{}]*)\}")
_PROSE = re.compile(r"(?:[^\W\d_]{2,}+|\b[aAI]\b|[\s.,;:!?()'\"\u2019-])*+")
"""Words and their punctuation, without anything mathematical: no single letter, sign or brace."""


def grade(sample: Sample, reasoning: Literal["think", "none"]) -> Grade:
    """Grade one sample of a problem with a reference answer.

    An unfinished thought or a response cut by max_tokens is truncated and never correct.
    """
    prompt, trace = sample.prompt, split(sample.response, reasoning)
    truncated = not trace.complete or sample.finish == "length"
    extracted, correct = None, False
    if not truncated and prompt.options:
        extracted = extract_letter(trace.answer, prompt.options)
        correct = extracted is not None and extracted == prompt.answer
    elif not truncated:
        extracted = extract_answer(trace.answer)
        correct = extracted is not None and equal_answers(prompt.answer or "", extracted)
    return Grade(sample_id=sample.id, correct=correct, extracted=extracted, truncated=truncated)


def extract_answer(text: str) -> str | None:
    r"""Return the answer that a text states, or None.

    The last ``\boxed{...}`` counts; without one the last line of the form "answer is ..." or "#### ..."; without
    that the last number.
    """
    if boxed := boxes(text):
        return boxed[-1]
    for pattern in (_HASHES, _STATED):
        if found := pattern.findall(text):
            return _bare(str(found[-1])) or None
    numbers = _NUMBER.findall(text)
    return str(numbers[-1]) if numbers else None


def equal_answers(reference: str, extracted: str) -> bool:
    """Return whether an extracted answer equals the reference ("72.00", "$72", "72." and "1,000" are numbers)."""
    left, right = _number(reference), _number(extracted)
    if left is not None and right is not None:
        return left == right or ("%" in extracted and left == right / 100)
    if equal_expressions(reference, extracted):
        return True
    if left is None:
        return False
    number = _number_in_words(extracted)
    return number is not None and number == left


def _bare(text: str) -> str:
    r"""Return a stated answer without the markup around it: ``**``, ``$``, ``\(`` and ``\)``, a full stop."""
    return re.sub(r"\\[()\[\]]", "", text).strip("*_`$ \t").rstrip(".").strip("*_`$ \t")


def _plain(text: str) -> str:
    """Return a text without the typesetting of its numbers."""
    text = _FORMATS.sub(r" \1 ", text)
    text = text.replace("\\$", "").replace("\\%", "%").replace("^\\circ", "\u00b0").replace("^{\\circ}", "\u00b0")
    text = _SPACED.sub(",", text).replace("\N{MINUS SIGN}", "-")
    return text.translate({ord(sign): None for sign in _CURRENCY}).strip()


def _number(text: str) -> Decimal | None:
    found = _QUANTITY.fullmatch(_plain(text))
    return _decimal(found["number"]) if found else None


def _number_in_words(text: str) -> Decimal | None:
    """Return the number that a statement begins with, or its only number: "72 km/h", "exactly 5 in total"."""
    plain = _plain(text)
    if begun := _RATE.fullmatch(plain) or _CLAUSE.match(plain):
        return _decimal(begun["number"])
    found = list(_NUMBER.finditer(plain))
    if len(found) != 1:
        return None
    before, after = plain[: found[0].start()], plain[found[0].end() :]
    if re.search(r"\bnot\b|n't\b", before, re.IGNORECASE):
        return None
    if before[-1:].isalnum() or after[:1].isalnum() or not (_PROSE.fullmatch(before) and _PROSE.fullmatch(after)):
        return None
    return _decimal(found[0].group())


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))
