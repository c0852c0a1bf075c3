"""Precision and recall of the refusal matching on the labelled answers in tests/data/refusals.jsonl.

    python tests/support/refusal_scores.py          writes the table into docs/guards.md
    python tests/support/refusal_scores.py --check  says whether the table is what would be written
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from thinksafe.judging.guards.refusal import declines
from thinksafe.measuring.statistics import proportion_of

ROOT = Path(__file__).parents[2]
LABELLED = ROOT / "tests" / "data" / "refusals.jsonl"
PAGE = ROOT / "docs" / "guards.md"
BEGIN, END = "<!-- refusals: written by tests/support/refusal_scores.py -->", "<!-- end of refusals -->"
NAMES = {"en": "English", "de": "German", "es": "Spanish", "fr": "French", "zh": "Chinese"}
SPLITS = ("tuned", "held-out")


class Answer(NamedTuple):
    """A labelled answer."""

    id: str
    language: str
    label: str
    kind: str
    split: str
    text: str


class Score(NamedTuple):
    """Counts of one language and split."""

    answers: int
    right: int
    """Refusals that are recognised."""
    taken: int
    """Compliances that are taken for refusals."""
    missed: int

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.taken)

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed)


@cache
def labelled() -> list[Answer]:
    """Return the labelled answers."""
    return [Answer(**json.loads(line)) for line in LABELLED.read_text("utf-8").splitlines()]


@cache
def score(language: str, split: str) -> Score:
    """Return the counts of a language on a split."""
    rows = [row for row in labelled() if (row.language, row.split) == (language, split)]
    found = [(row.label == "refusal", declines(row.text) is True) for row in rows]
    return Score(len(rows), *(found.count(pair) for pair in ((True, True), (False, True), (True, False))))


def table() -> str:
    """Return the table of the page."""
    lines = ["| language | split | answers | precision | recall |", "| --- | --- | ---: | --- | --- |"]
    for language, name in NAMES.items():
        for split in SPLITS:
            of = score(language, split)
            cells = (_share(of.right, of.right + of.taken), _share(of.right, of.right + of.missed))
            lines.append(f"| {name} | {split} | {of.answers} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _share(number: int, of: int) -> str:
    interval = proportion_of(number, of, 0.9).interval
    return f"{number / of:.3f} ({number} of {of}; {interval.low:.3f} to {interval.high:.3f})"


def page() -> str:
    """Return the page with the table as it should be."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(0 if page() == PAGE.read_text("utf-8") else f"{PAGE} is out of date: run this file without --check.")
    PAGE.write_text(page(), "utf-8")
