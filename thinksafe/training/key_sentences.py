"""The key sentence of a response: where it begins and ends, in tokens of the row."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Any, Literal, NamedTuple

from thinksafe.models.templates import tags_of
from thinksafe.training.data import IGNORED, Row

_END = re.compile(r"[.!?…][\"')\]]*(?=\s|$)|[。！？]|\n+")  # noqa: RUF001 - full-width marks end sentences, too


class Spans(NamedTuple):
    """Places in the tokens of a row; the key sentence is ``[understood, end)``."""

    start: int
    """Of the response."""
    understood: int
    """End of the understanding: everything in front of the key sentence."""
    end: int


def spans_of(row: Row, tokenizer: Any, reasoning: Literal["think", "none"], sentence: int) -> Spans | None:
    """Return where the key sentence of a row is, or None if its thought has fewer sentences.

    Args:
        row: An encoded example.
        tokenizer: The served tokenizer.
        reasoning: Whether the response opens with a thought.
        sentence: Which sentence of the thought is the key one, from 2.
    """
    start = next((place for place, label in enumerate(row.labels) if label != IGNORED), len(row.labels))
    ids = row.input_ids[start:]

    def text(tokens: int) -> str:
        return str(tokenizer.decode(ids[:tokens], skip_special_tokens=False, clean_up_tokenization_spaces=False))

    tags, whole = tags_of(tokenizer, reasoning), text(len(ids))
    thought, closed, _ = whole.partition(tags.close)
    if not closed:
        return None
    lead = len(thought) - len(thought.lstrip())
    opened = lead + len(tags.open) if thought.startswith(tags.open, lead) else 0
    ends = _sentence_ends(thought, opened)
    if len(ends) < sentence:
        return None

    def tokens(characters: int) -> int:
        """Return the fewest tokens whose text has this many characters."""
        return start + bisect_left(range(len(ids) + 1), characters, key=lambda count: len(text(count)))

    found = Spans(start, tokens(ends[sentence - 2]), tokens(ends[sentence - 1]))
    return found if start < found.understood < found.end else None


def _sentence_ends(text: str, start: int) -> list[int]:
    """Return where the sentences of a text end, from a place on."""
    ends: list[int] = []
    begun = start
    for match in _END.finditer(text, start):
        if text[begun : match.start()].strip():
            # a line break belongs to neither sentence
            ends.append(match.end() if match.group().strip() else match.start())
            begun = match.end()
    if text[begun:].strip():
        ends.append(len(text.rstrip()))
    return ends
