"""Lettered options: how they are shown, and which letter is correct."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

LETTERS = string.ascii_uppercase
MOST = len(LETTERS)


def with_options(problem: str, options: Sequence[str]) -> str:
    """Return a problem with its options below it, a letter in front of each: ``A) first``."""
    lines = "\n".join(f"{letter}) {text.strip()}" for letter, text in zip(LETTERS, options, strict=False))
    return f"{problem.strip()}\n\n{lines}"


def shuffled(correct: str, incorrect: Sequence[str], seed: int) -> tuple[list[str], str]:
    """Return the options in a seeded order, and the letter of the correct one."""
    order = [correct, *incorrect]
    places = random.Random(seed).sample(range(len(order)), len(order))
    return [order[place] for place in places], LETTERS[places.index(0)]


def letter_of(answer: str, options: Sequence[str]) -> str | None:
    """Return the letter that a reference answer names, by the letter or by the text of one option.

    None if it names no option, if two options have the text, or if letter and text name different options.
    """
    texts = [text.strip() for text in options]
    letters = LETTERS[: len(texts)]
    plain = answer.strip()
    named = {letter for letter, text in zip(letters, texts, strict=False) if text == plain}
    letter = plain.strip("().").upper()
    if len(letter) == 1 and letter in letters:
        named.add(letter)
    return named.pop() if len(named) == 1 else None
