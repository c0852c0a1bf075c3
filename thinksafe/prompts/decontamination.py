"""Overlap of training prompts with evaluation prompts: exact, by n-grams of words, and by request.

The n-gram rule is that of GPT-3's appendix C (arXiv:2005.14165, n = 13): a training prompt that shares n consecutive
words with an evaluation prompt is contaminated. Prompts shorter than n words can only match exactly. The prompts of the
micro world are all shorter; there, the pair of verb and object is compared, regardless of the sentence around it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from thinksafe.records import Count, Prompt, Record, Text

NGRAM = 13
"""Number of consecutive words that a training and an evaluation prompt must not share."""
_WORD = re.compile(r"\w+")
Kind = Literal["exact", "ngram", "request"]
Asked = Callable[[str], str]
"""Returns what a prompt asks for, as a text that is equal for equal requests; empty if that is unknown."""


class Overlap(Record):
    """A training prompt that overlaps with an evaluation prompt."""

    id: Text
    """Id of the training prompt."""
    kind: Kind
    evaluation_id: Text
    """The first evaluation prompt of the benchmark that it overlaps with."""
    benchmark: Text


class BenchmarkOverlap(Record):
    """The overlap of a benchmark with the training prompts."""

    benchmark: Text
    prompts: Count
    """Prompts of the benchmark."""
    found: Count
    """Prompts of the benchmark that overlap with a training prompt, before any was dropped."""
    left: Count
    """Prompts of the benchmark that overlap with a training prompt that was kept."""


class Contamination(Record):
    """The contamination report of a run."""

    schema_version: Literal[1] = 1
    ngram: Count
    dropped: bool
    """Whether contaminated training prompts were dropped."""
    benchmarks: tuple[BenchmarkOverlap, ...]
    overlaps: tuple[Overlap, ...]
    """By id of the training prompt and benchmark."""


def normalise(text: str) -> str:
    """Return the words of a text, lower-cased and Unicode-normalised (NFKC), separated by single spaces.

    A text without words (only signs) is kept unchanged: otherwise all such texts would be equal.
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    return " ".join(_WORD.findall(plain)) or plain.strip()


def find_contamination(
    training: Iterable[Prompt], evaluation: Sequence[Prompt], n: int, *, drop: bool = True, asked: Asked | None = None
) -> Contamination:
    """Compare every training prompt with every benchmark.

    Args:
        training: Training prompts, ids unique.
        evaluation: Evaluation prompts of all benchmarks; ``source`` names the benchmark.
        n: Words of an n-gram.
        drop: Whether the contaminated training prompts will be dropped.
        asked: Returns what a prompt asks for, in a world whose prompts can be parsed.
    """
    index: dict[tuple[Kind, str], dict[str, list[Prompt]]] = {}
    for row in evaluation:
        # a single rewritten turn says the same as the prompt; a conversation says more
        for said in (row.prompt, *(row.turns if len(row.turns) > 1 else ())):
            for mark in _marks(said, n, asked):
                index.setdefault(mark, {}).setdefault(row.source, []).append(row)
    hit: dict[str, set[str]] = {row.source: set() for row in evaluation}
    overlaps: list[Overlap] = []
    met: set[tuple[Kind, str]] = set()
    for row in training:
        first: dict[str, Overlap] = {}
        for mark in _marks(row.prompt, n, asked):
            for benchmark, others in index.get(mark, {}).items():
                first.setdefault(
                    benchmark, Overlap(id=row.id, kind=mark[0], evaluation_id=others[0].id, benchmark=benchmark)
                )
                if mark not in met:  # a phrase shared by a whole benchmark would make this quadratic
                    hit[benchmark].update(other.id for other in others)
            met.add(mark)
        overlaps += first.values()
    sizes = Counter(row.source for row in evaluation)
    benchmarks = [
        BenchmarkOverlap(benchmark=name, prompts=sizes[name], found=len(ids), left=0 if drop else len(ids))
        for name, ids in hit.items()
    ]
    overlaps.sort(key=lambda overlap: (overlap.id, overlap.benchmark))
    return Contamination(ngram=n, dropped=drop, benchmarks=tuple(benchmarks), overlaps=tuple(overlaps))


def _marks(text: str, n: int, asked: Asked | None) -> Iterable[tuple[Kind, str]]:
    """Yield the parts that must not be shared, the strongest kind first."""
    plain = normalise(text)
    yield "exact", plain
    words = plain.split(" ")
    for start in range(len(words) - n + 1):
        yield "ngram", " ".join(words[start : start + n])
    if asked is not None and (request := asked(text)):
        yield "request", request
