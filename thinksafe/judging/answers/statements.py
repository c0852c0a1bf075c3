r"""Find the answer that a text states.

In this order: the last box or ``<answer>`` tag; the last statement ("the answer is ...", "Answer: ...", a
heading "Answer", ``#### ...``, "... is the answer") that has a value; the last line, if it is nothing but a
value; what the last sentence concludes. What denies ("is not"), asks, supposes or withdraws states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from thinksafe.judging.answers.boxes import Box, boxes
from thinksafe.judging.answers.conclusions import (
    DENIED,
    END,
    OPENING,
    SUPPOSED,
    Stated,
    concluded,
    is_short,
    on_last_line,
)
from thinksafe.judging.answers.passage import Passage, passage_of
from thinksafe.judging.answers.reading import read
from thinksafe.judging.answers.tokens import LONGEST
from thinksafe.judging.answers.vocabulary import ASSESSMENTS, LEADS, NO_VALUES

TAIL = 20_000
"""How many of the last characters are searched for statements; boxes are found anywhere."""

MOST = 50
"""How many statements are read, from the last one back."""


_TAG = re.compile(r"<(answer|final_answer)>\s*(\S.{0,999}?)\s*</\1>", re.IGNORECASE | re.DOTALL)
_VERB = (
    r"(?:\s*(?:=>|->|\u2192|\u21d2|\\Rightarrow|\\to\b|:|=)|\s+(?:is|are|equals?|becomes|comes\s+(?:out\s+)?to(?:\s+be)?"
    r"|(?:would|should|must|will|has\s+to|have\s+to)\s+(?:also\s+)?be"
    r"|turns\s+out\s+to\s+be|works\s+out\s+to(?:\s+be)?)\b|\s+-{1,3}\s|\s*[\u2013\u2014])"
)
_STATED = re.compile(
    r"\b(?:answers?(?:\s*\([^()\n]{1,30}\))?|ans|final\s+(?:result|solution|value)|final(?=\s*:))(?!\w)\.?"
    rf"(?:\s+(?:to|for|of|in|here|that|we|you|as)\b[^.!?\n:=]{{0,80}}?)?{_VERB}(?:\s*(?::|=|[\u2013\u2014]))?(?:\s*,\s*(?:therefore|thus|then|indeed|of\s+course|in\s+fact|finally)\b\s*,?|(?!\s*,))",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*)?(?:the[ \t]+)?(?:final[ \t]+|correct[ \t]+)?(?:answer|result"
    r"|solution)[ \t]*:?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"^[ \t]*#{2,6}[ \t]*(\S.*)$", re.MULTILINE)
_REVERSED = re.compile(
    r"\s+(?:is|are)\s+(?:therefore\s+|thus\s+|indeed\s+)?(?:the|our|my)\s+(?:(?:final|correct|right|required"
    r"|desired)\s+)*"
    r"(?:answer|result|solution)\b(?!\s+(?:to\s+the\s+(?:first|other)|if|unless|when))",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"[,;:.!?\n]|\b(?:so|thus|hence|therefore|but|then|means|because|since)\b", re.IGNORECASE
)
_WITHDRAWN = re.compile(
    r"\b(?:wait|actually|correction|oops|scratch\s+that|no,|hmm|sorry|on\s+second\s+thought"
    r"|let\s+me\s+(?:re\w*|correct|fix)|i\s+made\s+a"
    r"|made\s+an?\s+(?:error|mistake))|\b(?:is|was|that's)\s+(?:wrong|incorrect|not\s+(?:right|correct"
    r"|true))\b",
    re.IGNORECASE,
)
_REVISED = re.compile(
    r"\b(?:it|that|this|which)(?:'s|\s+is|\s+should\s+(?:really\s+)?be|\s+must\s+be"
    r"|\s+equals)\s+(?:actually\s+|really\s+)?|"
    r"\b(?:should\s+be|make\s+(?:it|that)|i\s+mean[t]?|to)\s+|\b(?:no|wait|actually|correction|sorry)[,:]\s+",
    re.IGNORECASE,
)


def stated_answer(text: str, *, words: bool = False) -> Stated | None:
    """Return the answer that a text states, or None.

    Args:
        text: The answer, without the thought.
        words: The reference is words, such as a name; words are no value otherwise.
    """
    marked = _boxed(text) or _tagged(text)
    passage = passage_of((text[marked[1] :] if marked else text)[-TAIL:])
    if marked:
        revised = _revised(passage, words=words) if passage.text.strip() else None
        return revised or marked[0]
    return (
        _in_statements(passage, words=words)
        or on_last_line(passage, words=words)
        or concluded(passage, words=words)
    )


# -- boxes and tags


def _boxed(text: str) -> tuple[Stated, int] | None:
    found = boxes(text)
    while found and re.search(
        r"\b(?:not|n't)\b[^.\n{}]{0,20}\Z", text[max(0, found[-1].begin - 60) : found[-1].begin]
    ):
        found.pop()
    if not found:
        return None
    last = found[-1]
    if tag := [*_TAG.finditer(text, last.end)]:
        return _tagged(text[tag[-1].start() :], tag[-1].start())
    contents = [last.content]
    for before, after in zip(found[-2::-1], found[:0:-1], strict=False):
        if not _JOINED.fullmatch(text, before.end, after.begin):
            break
        contents.insert(0, before.content)
    content = ", ".join(contents) if len(contents) > 1 else _whole_formula(text, last)
    return Stated(content, "box", read(content)), last.end


_JOINED = re.compile(
    r"[\s$.&\\()\[\]]*(?:,|;|and|or|\\text\s*\{\s*,?\s*(?:and|or)\s*\}"
    r"|\\q?quad)+[\s$,.&\\()\[\]]*(?:[a-zA-Z](?:_\w)?\s*=\s*)?"
)


def _whole_formula(text: str, box: Box) -> str:
    r"""Return the content of a box with what belongs to it outside: ``-\boxed{5}``, ``\boxed{5}x``."""
    sign = re.search(r"(?:\A|[$=(\[]|\\\[|\\\()\s*(-)\s*\Z", text[max(0, box.begin - 20) : box.begin])
    rest = re.match(
        r"\s*((?:[*/^+]|\\(?:sqrt|frac|pi|cdot|times|pm|binom)\b"
        r"|-\s*[\d\\])[^$\n]{0,60}?)\s*(?:\.?\s*(?:\$|\\\)|\\\]|\n|\Z))",
        text[box.end :][:100],
    )
    if not sign and not rest:
        return box.content
    return f"{'-' if sign else ''}({box.content}){rest[1] if rest else ''}"


def _tagged(text: str, offset: int = 0) -> tuple[Stated, int] | None:
    found = [*_TAG.finditer(text)]
    if not found:
        return None
    inner = found[-1][2]
    if inside := boxes(inner):
        inner = inside[-1].content
    stated = _value(passage_of(inner), words=True)
    return stated or Stated(inner, "answer tag", read(inner)), offset + found[-1].end()


def _value(passage: Passage, *, words: bool) -> Stated | None:
    """Return what a short passage, such as the content of a tag, states."""
    whole = passage.restored(passage.text)
    if (value := read(whole)) is not None:
        return Stated(whole, "answer tag", value)
    found = _in_statements(passage, words=words)
    return Stated(found.text, "answer tag", found.value) if found else None


# -- statements


def _in_statements(passage: Passage, *, words: bool) -> Stated | None:
    """Return the last statement that has a value, unless it is withdrawn behind it."""
    vague: Stated | None = None
    for place, content, rule in _last_statements(passage):
        plain = passage.restored(content)
        kind = _kind(plain)
        stated = Stated(plain, rule, read(plain))
        if kind == "nothing" or (rule == "hashes" and kind != "value" and not (kind == "words" and words)):
            continue
        if (kind == "vague" and not (words and is_short(plain))) or (kind == "words" and not words):
            if (rule in ("heading", "label") or ":" in plain) and (
                inner := concluded(passage_of(plain), words=words)
            ):
                stated = inner
            else:
                vague = vague or stated
                continue
        after = Passage(passage.text[place + len(content) :], passage.formulas)
        return _revised(after, words=words) or (None if _taken_back(after.text) else stated)
    return vague


def _kind(content: str) -> str:
    """Return what a statement has: a value, words, nothing, something unreadable, or a vague remark."""
    if not content.strip(" .:,*") or DENIED.match(content):
        return "nothing"
    value = read(content)
    if value is not None and value.node is not None:
        return "value"
    if value is not None:
        if len(value.words) <= 6 and set(value.words) & NO_VALUES:
            return "value"
        if set(value.words) & ASSESSMENTS or len(value.words) > 6:
            return "nothing"
        return "words"
    first = re.match(
        rf"\s*(?:(?:{'|'.join(sorted(LEADS - {'a', 'an'}))})\b\s*)*([^\W\d_]{{2,}})", content, re.IGNORECASE
    )
    return "vague" if first and not content.lstrip().startswith("\\") else "unreadable"


def _last_statements(passage: Passage) -> list[tuple[int, str, str]]:
    """Return the statements of a passage, the last one first; of very many only the last."""
    return sorted(_statements(passage.text), reverse=True)[:MOST]


def _statements(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the statements of a passage: where the content begins, the content, and the rule."""
    for found in _STATED.finditer(text):
        start, content = _content(text, found.end())
        if not _is_supposed(text, found.start()) and not _is_question(text, start + len(content)):
            yield start, content, "label" if found.group().rstrip().endswith(":") else "statement"
    for found in _HEADING.finditer(text):
        start, content = _content(text, found.end())
        yield start, content, "heading"
    for found in _HASHES.finditer(text):
        yield found.start(1), found[1].rstrip("# "), "hashes"
    for found in _REVERSED.finditer(text):
        start = max(
            (end.end() for end in END.finditer(text, max(0, found.start() - 300), found.start())),
            default=max(0, found.start() - 300),
        )
        sentence = text[start : found.start()]
        opening = OPENING.match(sentence)
        begin = start + (opening.end() if opening else 0)
        if not SUPPOSED.search(sentence):
            yield begin, text[begin : found.start()], "statement"


def _content(text: str, start: int) -> tuple[int, str]:
    """Return the rest of a sentence, or the next line if nothing is left on this one."""
    while start < len(text) and text[start].isspace():
        start += 1
    stop = min(len(text), start + LONGEST)
    end = END.search(text, start, stop)
    return start, text[start : end.start() if end else stop]


def _is_supposed(text: str, place: int) -> bool:
    """Return whether what stands before "answer" in its clause makes it no statement: "if the", "a wrong"."""
    before = text[max(0, place - 120) : place]
    ends = [*_CLAUSE.finditer(before)]
    clause = before[ends[-1].end() :] if ends else before
    return bool(SUPPOSED.search(clause))


def _is_question(text: str, end: int) -> bool:
    return text[end : end + 1] == "?"


def _taken_back(after: str) -> bool:
    return bool(
        re.search(
            r"\b(?:that|this|it|which)(?:'s|\s+is|\s+was)\s+(?:wrong|incorrect|not\s+(?:right|correct"
            r"|true))\b",
            after,
            re.IGNORECASE,
        )
    )


def _revised(after: Passage, *, words: bool) -> Stated | None:
    """Return the value that a correction behind a statement gives: "Wait, it should be 6."."""
    if not (found := [*_WITHDRAWN.finditer(after.text)]):
        return None
    rest = Passage(after.text[found[0].start() :], after.formulas)
    if stated := _in_statements_once(rest, words=words):
        return stated
    for match in reversed([*_REVISED.finditer(rest.text)]):
        _, content = _content(rest.text, match.end())
        plain = rest.restored(content)
        if _kind(plain) == "value":
            return Stated(plain, "correction", read(plain))
    return None


def _in_statements_once(passage: Passage, *, words: bool) -> Stated | None:
    for _, content, rule in _last_statements(passage):
        plain = passage.restored(content)
        kind = _kind(plain)
        if kind == "value" or (kind == "words" and words):
            return Stated(plain, rule, read(plain))
    return None


