"""Answers in the manner of MATH and GSM8K: references with other right forms and with near misses.

``answers_math.txt`` and ``answers_gsm8k.txt`` have one line each: the reference, right forms behind ``==``, wrong ones
behind ``!=``, separated by `` ;; ``. The reference itself is also a right form.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """A reference, forms with its value, and forms with another."""

    reference: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def _read(name: str) -> tuple[Answer, ...]:
    found = []
    for line in Path(__file__).with_name(name).read_text("utf-8").splitlines():
        reference, _, rest = line.partition(" == ")
        right, _, wrong = rest.partition(" != ")
        found.append(Answer(reference, tuple(right.split(" ;; ")), tuple(wrong.split(" ;; "))))
    return tuple(found)


EXPRESSIONS = _read("answers_math.txt")
NUMBERS = _read("answers_gsm8k.txt")
