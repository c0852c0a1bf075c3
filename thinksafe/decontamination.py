"""Overlap of training prompts with evaluation prompts: exact, and by n-grams of words.

The n-gram rule is that of GPT-3's appendix C (arXiv:2005.14165, n = 13): a training prompt that shares n consecutive
words with an evaluation prompt is contaminated. Prompts shorter than n words can only match exactly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from thinksafe.records import Prompt

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Contamination:
    """Why a training prompt counts as contaminated."""

    kind: Literal["exact", "ngram"]
    evaluation_id: str
    benchmark: str


def normalise(text: str) -> str:
    """Return the words of a text, lower-cased and Unicode-normalised (NFKC), one space between.

    A text without words (only signs) is kept as it is: all such texts would be equal otherwise.
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    return " ".join(_WORD.findall(plain)) or plain.strip()


def find_contamination(
    training: Iterable[Prompt], evaluation: Iterable[Prompt], n: int
) -> dict[str, Contamination]:
    """Return the contaminated training prompts by id, each with the first evaluation prompt that it overlaps."""
    exact: dict[str, Prompt] = {}
    grams: dict[str, Prompt] = {}
    for row in evaluation:
        text = normalise(row.prompt)
        exact.setdefault(text, row)
        for gram in _ngrams(text, n):
            grams.setdefault(gram, row)
    found = {}
    for row in training:
        text = normalise(row.prompt)
        if hit := exact.get(text):
            found[row.id] = Contamination("exact", hit.id, hit.source)
        elif hit := next((grams[gram] for gram in _ngrams(text, n) if gram in grams), None):
            found[row.id] = Contamination("ngram", hit.id, hit.source)
    return found


def _ngrams(text: str, n: int) -> Iterable[str]:
    words = text.split(" ")
    return (" ".join(words[start : start + n]) for start in range(len(words) - n + 1))
