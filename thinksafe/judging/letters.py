r"""Read the option letter that a response gives: ``(B)``, ``B.``, ``**B**``, ``option b``, ``\boxed{\text{B}}``.

The difficult case is the word "a": "the answer is a matter of taste" names no option. So a bare letter counts only in
the place of an answer, and a letter that may be a word counts only if the next words do not make it one. A response
that names two options ("B or C") gives none.
"""

from __future__ import annotations

import re

from thinksafe.benchmarks.options import LETTERS
from thinksafe.judging.boxes import boxes

_STYLES = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|rm|sf|it|bb)?|mbox|bf|rm)\b|\\[,;:!()\[\] ]")
_MARKS = str.maketrans("", "", "*_`$\"'{}\u201c\u201d")
_LEAD = re.compile(
    r"\s*(?:(?:the|only|correct|right|best|clearly|option|choice|letter|answer|is|it|so|hence|thus|therefore|i|choose|pick"
    r"|select|final)\b[\s:,]*)*", re.IGNORECASE,
)
_LETTER = re.compile(r"\s*(?:[(\[]\s*(?P<closed>[A-Za-z])\s*[)\]]|(?P<bare>[A-Za-z])(?![\w'\u2019]))")
_TWO = re.compile(r"\s*(?:(?:,|/|&|or|and)\s*)+(?:[(\[]\s*[A-Za-z]\s*[)\]]|[A-Z](?![\w'\u2019]))")
_ENDS = re.compile(r"\s*(?:[.,:;!?)\]\n]|\Z|[-\u2013\u2014])")
_REASON = re.compile(r"\s+(?:because|since|as|for|which|due|is)\b")
_STATED = re.compile(
    r"\b(?:answer|choice|option)(?:\s+(?:to|for)\s[^.\n]{1,60}?)?\s*"
    r"(?:(?:\bis|=|:|\bwould\s+be|\bshould\s+be|\bmust\s+be)\s*)+", re.IGNORECASE,
)
_NAMED = re.compile(r"\b(?:option|choice|choose|pick|select)\s+", re.IGNORECASE)
_CLOSED = re.compile(r"\(([A-Z])\)")
_BEFORE = re.compile(r"(?:\bnot\s+|\([A-Z]\)\s*(?:or|and|,|/|&)\s*)\Z")
REACH = 200
"""How many characters after "the answer is" to search for a letter."""
_WORDS = frozenset("AI")
"""Letters that are also English words."""


def extract_letter(text: str, options: int) -> str | None:
    r"""Return the capital letter of the option that a response gives, or None.

    The last ``\boxed{...}`` with a letter counts; without one, the last "answer is ..."; without that, what the last
    line starts with or chooses; without that, the last letter in parentheses.

    Args:
        text: The answer, without the thought.
        options: Number of options, 2 to 26; letters beyond them do not count.
    """
    for content in reversed(boxes(text)):
        if letter := _read(content, options, alone=True):
            return letter
    plain = _STYLES.sub(" ", text).translate(_MARKS)
    for found in reversed([*_STATED.finditer(plain)]):
        if (letter := _read(plain[found.end() :][:REACH], options)) is not None:
            return letter or None
    line = next((line for line in reversed(plain.splitlines()) if line.strip(" .:")), "")
    closed = _CLOSED.findall(line)
    if len(closed) < 2:  # a line that speaks of several options is not one of them
        named = [0, *(found.end() for found in reversed([*_NAMED.finditer(line)]))]
        for start in named:
            if (letter := _read(line[start:][:REACH], options)) is not None:
                return letter or None
    last = [*_CLOSED.finditer(plain)][-1:]
    if not last or _BEFORE.search(plain, max(0, last[0].start() - REACH), last[0].start()):
        return None
    return last[0][1] if last[0][1] in LETTERS[:options] else None


def _read(text: str, options: int, *, alone: bool = False) -> str | None:
    """Return the letter that a text starts with, None if there is none, and "" for two letters.

    Args:
        text: Plain text, or the content of a box.
        options: Number of options.
        alone: The text can only be an answer.
    """
    if alone:
        text = _STYLES.sub(" ", text[:REACH]).translate(_MARKS)
    lead = _LEAD.match(text)
    for start in dict.fromkeys((lead.end() if lead else 0, 0)):
        if found := _LETTER.match(text, start):
            if _TWO.match(text, found.end()):
                return ""
            letter = found["closed"] or found["bare"]
            sure = bool(found["closed"]) or alone or (letter.isupper() and letter not in _WORDS)
            follows = _ENDS.match(text, found.end()) or _REASON.match(text, found.end())
            if (sure or follows) and letter.upper() in LETTERS[:options]:
                return letter.upper()
    return None
