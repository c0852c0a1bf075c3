"""Break the delimiters of a guard's prompt inside untrusted text.

A prompt or response with ``<END CONVERSATION>`` or a control token such as ``<|eot_id|>`` could end its own field and
pose as the guard's instructions. Each such place gets a middle dot after its first character
(``<·END CONVERSATION>``, ``U·ser:`` at the start of a line): visible, not a control token of any tokenizer, and no
longer a delimiter. Text without delimiters is returned unchanged.

This keeps fields apart. It does not stop a guard from believing what a text says in plain words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BREAK = "\u00b7"

_LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
# spaces and invisible characters in front of a label; line ends are left out, so that a long run of empty lines is
# not scanned again from each of its lines
_INDENT = rf"(?:[^\S{_LINE_ENDS}]|[\u00ad\u200b-\u200f\u2060-\u2064\ufeff])*"


class Neutraliser:
    """Breaks a fixed set of delimiters.

    Args:
        delimiters: Texts to break anywhere. Case, and white space between words and signs, do not matter.
        labels: Texts to break at the start of a line, matched in the same loose way.
        tokens: Contents of the tokenizer's control tokens, matched to the letter. One of a single character or of
            white space only cannot be broken and is left alone (encoding refuses texts that contain it).
    """

    def __init__(self, delimiters: Iterable[str], labels: Iterable[str], tokens: Iterable[str] = ()) -> None:
        exact = sorted({token for token in tokens if len(token.strip()) > 1}, key=len, reverse=True)
        self._patterns = [
            re.compile(f"(){pattern}", flags)
            for pattern, flags in (
                (_any(map(re.escape, exact)), re.NOFLAG),
                (_any(map(_loose, delimiters)), re.IGNORECASE),
            )
            if pattern
        ]
        if pattern := _any(map(_loose, labels)):
            opening = rf"((?:\A|(?<=[{_LINE_ENDS}])){_INDENT})"
            self._patterns.append(re.compile(opening + pattern, re.IGNORECASE))

    def __call__(self, text: str) -> str:
        """Return the text with its delimiters broken; a second call changes nothing.

        Lone surrogates, which no tokenizer accepts, become question marks.
        """
        text = text.encode("utf-8", "replace").decode("utf-8")
        while True:
            # overlapping delimiters are found one after the other; every pass breaks at least one, and a broken one
            # cannot match again, so this terminates
            broken = text
            for pattern in self._patterns:
                broken = pattern.sub(_insert, broken)
            if broken == text:
                return text
            text = broken


def _insert(match: re.Match[str]) -> str:
    lead, found = match.group(1), match.group()[len(match.group(1)) :]
    return f"{lead}{found[0]}{BREAK}{found[1:]}"


def _any(patterns: Iterable[str]) -> str:
    joined = "|".join(patterns)
    return f"(?:{joined})" if joined else ""


def _loose(delimiter: str) -> str:
    return r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", delimiter)))
