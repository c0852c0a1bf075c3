"""The sentences of an answer as a person reads it: without markup, quotations and code.

Every pattern here is linear in the length of the text, and of a long answer only the beginning is read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

READ = 8000
"""Characters of an answer that are read; what it does is clear long before."""
LONGEST = 400
"""Characters of a sentence that are read."""
QUOTED, CODE = "…", "[code]"
"""What stands in place of a quotation and of a block of code."""

_SAME = str.maketrans("\u2018\u2019\u02bc\u00b4\u00a0\u202f\u3000", "''''   ")
_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_BLOCK_QUOTE = re.compile(r"^[ \t]*>[^\n]*$", re.MULTILINE)
_SPEECH = re.compile(r"^[ \t]*[\u2013\u2014]\w[^\n]*$", re.MULTILINE)
_QUOTATION = re.compile(
    r'"[^"\n]*"|(?<!\w)\'[^\'\n]*(?:\w\'\w[^\'\n]*)*\'(?!\w)|\u201c[^\u201c\u201d\n]*\u201d|\u201e[^\u201c\u201d\n]*[\u201c\u201d]|«[^»\n]*»|「[^」\n]*」|`[^`\n]+`'
)
_WHOLE_QUOTATION = re.compile(r'\s*(?:"([^"]*)"|\u201c([^\u201d]*)\u201d|«([^»]*)»)\s*')
_ACUTE = re.compile(r"(?<=[a-z])`(?=[a-z])")
_MARKS = re.compile(r"[*_#~>|]+")
_TAG = re.compile(r"</?\w[^<>\n]{0,40}>")
_ITEM = re.compile(r"\s*(?:[-•*+·]|\d{1,2}[.)、])\s+")
_END = re.compile(r"(?<=[.!?:;…])[\"')\]]*\s+|(?<=[。！？：；])")  # noqa: RUF001
_SPEAKER = re.compile(r"^[ \t*]*([^\W\d_][\w' ]{0,24})\**[:：]\**[ \t]*\S", re.MULTILINE)  # noqa: RUF001


class Sentence(NamedTuple):
    """A sentence in lower case, with single spaces and straight apostrophes."""

    text: str
    item: str
    """The mark of the list whose entry it is (a part of), such as ``-`` or ``1.``; empty if it is none."""


def sentences_of(answer: str) -> list[Sentence]:
    """Return the sentences of an answer. A colon, a semicolon and a line break end one, too."""
    text = _ACUTE.sub("'", answer[:READ].translate(_SAME)).strip()
    if whole := _WHOLE_QUOTATION.fullmatch(text):
        text = next(part for part in whole.groups() if part is not None)
    if (fence := _FENCE.fullmatch(text)) and "\n" not in fence.group(1).strip():
        text = fence.group(1)
    text = _TAG.sub("\n", _FENCE.sub(f"\n{CODE}\n", text))
    text = _SPEECH.sub(QUOTED, _BLOCK_QUOTE.sub("", text) if _BLOCK_QUOTE.sub("", text).strip() else text)
    found = []
    for line in _QUOTATION.sub(QUOTED, text).split("\n"):
        item = _ITEM.match(line)
        plain = " ".join(_MARKS.sub(" ", line[item.end() :] if item else line).lower().split())
        mark = item.group().strip() if item else ""
        found += [Sentence(part[:LONGEST], mark) for part in _END.split(plain) if part.strip()]
    return found


def speakers(answer: str) -> set[str]:
    """Return the names, in lower case, that stand in front of lines as in a script."""
    return {name.strip().lower() for name in _SPEAKER.findall(answer[:READ])}
