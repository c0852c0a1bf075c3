"""What a text without a statement ends with: a last line that is nothing but a value, or a sentence that concludes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from thinksafe.judging.answers.passage import Passage
from thinksafe.judging.answers.reading import Value, read
from thinksafe.judging.answers.vocabulary import ASSESSMENTS, CHANGES, CLAUSES


@dataclass(frozen=True)
class Stated:
    """An answer that a text states."""

    text: str
    rule: str
    """Which rule of the grammar found it: ``box``, ``answer tag``, ``statement``, ``label``, ``heading``, ``hashes``,
    ``correction``, ``last line``, ``conclusion``."""
    value: Value | None
    """What it was read as; None if it cannot be read whole."""


END = re.compile(r"(?:(?<=\w)!{2,}|(?<=[^\W\d_]{2})!|(?<=[^\w)])!|[.?])(?=\s|\Z)|\n|;\s")
OPENING = re.compile(
    r"^\s*(?:(?:so|thus|hence|therefore|then|finally|in\s+total|altogether|overall|this|that|it|which|and|we"
    r"|you|i(?=\s+\w)|conclude|see|find|get"
    r"|have|know|obtain|that's|it's|means?|gives?|now|ok|okay|yes|well|so,|clearly|consequently"
    r"|in\s+conclusion|as\s+a\s+result"
    r"|by\s+symmetry|together|must|be|is|go\s+with|would|say|i'd|i'll|think|believe|say)\b[\s,:]*)+",
    re.IGNORECASE,
)
DENIED = re.compile(
    r"\s*(?:not|n't|never|neither|no longer|hardly|far from|unlikely|wrong|incorrect)\b", re.IGNORECASE
)
SUPPOSED = re.compile(
    r"\b(?:if|unless|whether|suppos\w*|assum\w*|might|may|could|cannot|can't|not|no|never|don't|doesn't"
    r"|didn't|isn't|wasn't|aren't"
    r"|some|someone|people|many|most|students?|wrong|incorrect|false|mistake\w*|tempting|naive|claim\w*|first"
    r"|initial\w*|previous\w*|earlier"
    r"|originally|common|their|his|her|other|intermediate|why|what|how|unclear|unsure|doubt\w*|hint|ai"
    r"|textbook|friend)\b",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"(?<![<>!])=(?!=)|:|\b(?:is|are|be|equals?|equal\s+to|gives?|get|obtain|have|yields?|becomes|find"
    r"|makes?)\b",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\b(?:not|no|none|never|nobody|nothing|cannot|without|wrong|incorrect|impossible|unclear|unknown|undetermined|neither"
    r"|nor|unsure|guess|if|unless|whether|maybe|perhaps|might|may|could|between|either|anything|everything|except|unlikely"
    r"|whatever|near|too|almost|nearly|tried|tries)\b|n't\b|\?",
    re.IGNORECASE,
)
_CHANGED = re.compile(
    r"\b(?:half|twice|thrice|double|triple|than|for|of|by|times|over|plus|minus|least|most|between|to|from"
    r"|question|step|problem|case"
    r"|part|exercise|equation|figure|page|chapter|number|and|or|with|in|on|at|until|before|after|per|every"
    r"|each|option|try|tried|using"
    r"|try|divide|multiply|subtract|add|under|above|below|about)\s*\Z",
    re.IGNORECASE,
)
_FORMULA = re.compile("\ue000\\d+\ue001")
_OPERATOR = re.compile(r"(?:\d|\ue001)\s*,\s*\Z|(?:[/^*+)\ue001(<>]|\w)\s?\Z(?<!\s)|[/^*+<>-]\s?\Z")
_PLAIN_REST = re.compile(r"\s*(?:[,.!;]|\Z|[^\W\d_]{2,})")
_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBER = re.compile(r"[-\u2212]?[$\u00a3\u20ac]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def on_last_line(passage: Passage, *, words: bool) -> Stated | None:
    """Return the last line, if it is nothing but a value."""
    lines = [line.strip() for line in passage.text.splitlines() if line.strip(" \t.:*_-")]
    if not lines or lines[-1].endswith("?"):
        return None
    return _read_line(re.sub(r"^#{1,6}\s*", "", lines[-1]), passage, words=words)


def _read_line(line: str, passage: Passage, *, words: bool) -> Stated | None:
    """Return what a line or sentence is, if all of it is a value."""
    for text in dict.fromkeys((line, OPENING.sub("", line))):
        plain = passage.restored(text)
        value = read(plain)
        if (
            value is not None
            and (value.node is not None or (words and len(value.words) <= 6 and not _COPULA.search(plain)))
            and not DENIED.match(plain)
        ):
            return Stated(plain.rstrip(".") if value.node is None else plain, "last line", value)
        if (
            value is None
            and words
            and is_short(plain)
            and not (DENIED.match(plain) or _COPULA.search(plain))
        ):
            return Stated(plain.rstrip("."), "last line", None)
    return None


def concluded(passage: Passage, *, words: bool) -> Stated | None:
    """Return the value with which the last sentence that has one ends, if nothing in it or behind it raises a doubt."""
    sentences = [text for text in _sentences(passage.text) if text.strip()]
    for sentence in reversed(sentences[-6:]):
        if _DOUBT.search(sentence) or re.search(r"\banswer\b", sentence, re.IGNORECASE):
            return None
        if whole := _read_line(sentence, passage, words=words):
            return Stated(whole.text, "conclusion", whole.value)
        if not words and not re.search(r"[\d\ue000]", sentence) and not _COPULA.search(sentence):
            continue
        if (found := _conclusion(sentence, passage, words=words)) or re.search(r"[\d\ue000]", sentence):
            return found
    return None


def _sentences(text: str) -> list[str]:
    found, start = [], 0
    for end in END.finditer(text):
        found.append(text[start : end.end()])
        start = end.end()
    return [*found, text[start:]]


def _conclusion(sentence: str, passage: Passage, *, words: bool) -> Stated | None:
    for copula in _COPULA.finditer(sentence):
        plain = passage.restored(sentence[copula.end() :]).strip()
        value = read(plain)
        if value is not None and value.node is not None:
            listing = copula.group().lower() in ("is", "are", "=", ":") or not _WORD.search(sentence, copula.end())
            if value.node.op == "list" and not listing:
                continue
            return Stated(plain.rstrip(". "), "conclusion", value)
        if value is not None and words and len(value.words) <= 4 and not set(value.words) & ASSESSMENTS:
            return Stated(plain.rstrip(". "), "conclusion", value)
        if value is None and words and copula.group() == ":" and is_short(plain):
            return Stated(plain.rstrip(". "), "conclusion", None)
    last = [*_FORMULA.finditer(sentence)][-1:] or [*_NUMBER.finditer(sentence)][-1:]
    if not last:
        return None
    before, found, after = sentence[: last[0].start()], last[0].group(), sentence[last[0].end() :]
    if _CHANGED.search(before) or _OPERATOR.search(before):
        return None
    alone, whole = (passage.restored(each).strip() for each in (found, found + after))
    values = read(alone), read(whole)
    if (
        values[1] is not None
        and values[1] != values[0]
        and values[1].node
        and values[1].node.op != "list"
        and _harmless(after)
    ):
        short = values[0] is not None and values[0].node == values[1].node
        return Stated(alone if short else whole.rstrip(". "), "conclusion", values[1])
    if (
        values[0] is not None
        and values[0].node
        and values[0].node.op != "list"
        and _harmless(after)
        and _PLAIN_REST.match(after)
    ):
        return Stated(alone, "conclusion", values[0])
    return None


def _harmless(rest: str) -> bool:
    """Return whether words behind a number leave it what it is."""
    words = re.findall(r"[^\W\d_]+", rest.lower())
    return not (set(words[:2]) & (CHANGES | CLAUSES) - {"of", "out"}) and not re.search(r"[\d\ue000=+*/^\\-]", rest)


def is_short(text: str) -> bool:
    """Return whether a text with words may be a reference such as ``June 20``."""
    return len(text) <= 40 and len(text.split()) <= 4
