r"""Read the option letter that a response gives: ``(B)``, ``B.``, ``**B**``, ``option b``, ``\boxed{\text{B}}``.

The difficult case is the word "a": "the answer is a matter of taste" names no option. So a bare letter counts only in
the place of an answer, and a letter that may be a word counts only if the next words do not make it one. A response
that names two options ("B or C") gives none, and an option that is called wrong is not the answer.
"""

from __future__ import annotations

import re

from thinksafe.benchmarks.options import LETTERS, MOST
from thinksafe.errors import InputError
from thinksafe.judging.answers.boxes import boxes

_STYLES = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|rm|sf|it|bb)?|mbox|bf|rm|boxed)\b|\\[,;:!()\[\] ]"
)
_MARKS = str.maketrans("", "", "*_`$\"'{}\u201c\u201d")
_FRONT = re.compile(
    r"^[ \t]*(?:#{1,6}|[-+\u2022>]|\d{1,2}[.)](?=[ \t]*\(?[A-Za-z]\)?[ \t]*$))[ \t]+|^[ \t]*#{1,6}(?=[A-Za-z(])",
    re.MULTILINE,
)
"""What stands in front of a line: a heading's signs, a bullet."""
_TAG = re.compile(r"<answer>(.{0,200}?)</answer>", re.IGNORECASE | re.DOTALL)
_LEAD = re.compile(
    r"\s*(?:(?:the|only|correct|right|best|clearly|option|choice|letter|answer|is|it|its|so|hence|thus|therefore|i|id|ill"
    r"|choose|pick|select|selected|final|must|be|should|would|will|go|going|with|say|then|finally|which|leaves|leaving"
    r"|definitely|actually|most|likely|we|that|thats|have|are|left|my|this|means|think|believe)\b[\s:,]*)*",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\s*(?:[(\[]\s*(?P<closed>[A-Za-z])\s*[)\]]|(?P<bare>[A-Za-z])(?![\w'\u2019]))")
_TWO = re.compile(r"\s*(?:(?:,|/|&|or|and)\s*)+(?:[(\[]\s*[A-Za-z]\s*[)\]]|[A-Z](?![\w'\u2019]))")
_ENDS = re.compile(r"\s*(?:[.,:;!?)\]\n]|\Z|[-\u2013\u2014])")
_REASON = re.compile(r"\s+(?:because|since|as|for|which|due|is)\b")
_STATED = re.compile(
    r"\b(?:ans|answer|choice|option)(?:\s+(?:to|for)\s[^.\n]{1,60}?)?\s*"
    r"(?:(?:\bis|=>|->|\u2192|=|:|\uff1a|\bwould\s+be|\bshould\s+be|\bmust\s+be|\s[-\u2013\u2014](?=\s))\s*)+",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\b(?:option|choice|choose|pick|select|go(?:ing)?\s+with|must\s+be|should\s+be|leaves|leaving|left\s+with|settle\s+on"
    r"|opt\s+for|(?:so|thus|hence|therefore|but|wait|no|actually|sorry|correction)(?:\s+(?:it\s+is|its))?)[\s,:]+",
    re.IGNORECASE,
)
_CORRECTED = re.compile(r"\b(?:wait|actually|correction|sorry|on second thought)\b|\bno,", re.IGNORECASE)
_LISTED = re.compile(r"\b[A-Z]\)")
_RIGHT = re.compile(
    r"(?:[(\[](?P<closed>[A-Z])[)\]]|\b(?P<bare>[A-Z]))\s+(?:is|seems|looks|must\s+be"
    r"|has\s+to\s+be)\s+(?:clearly\s+|indeed\s+|definitely\s+)?"
    r"(?:the\s+)?(?:only\s+|most\s+|best\s+)?(?:correct|right|true|best|answer|appropriate|accurate)\b"
)
_CLOSED = re.compile(r"\(([A-Z])\)")
_MENTION = re.compile(r"[(\[](?P<closed>[A-Z])[)\]]|\b(?P<bare>[A-Z])(?![\w'\u2019])")
_BEFORE = re.compile(r"(?:\bnot\s+|\([A-Z]\)\s*(?:or|and|,|/|&)\s*)\Z")
_WRONG_BEFORE = re.compile(
    r"\b(?:not|isnt|never|rules?\s+out|ruled\s+out|ruling\s+out|eliminat\w+|exclud\w+|reject\w*|discard\w*"
    r"|unlike|than|instead\s+of"
    r"|except|against|neither|nor|cannot\s+be|cant\s+be)\s+(?:(?:option|choice|answer|both|either)\s+)?\Z",
    re.IGNORECASE,
)
_WRONG_AFTER = re.compile(
    r"\s*(?:is|are|was|seems|looks|can|could|has|does|would|:|isnt|cannot|cant|doesnt|must"
    r"|might)[^.;,\n]{0,24}?"
    r"\b(?:wrong|incorrect|false|not|too|out|eliminated|excluded|impossible|fails?|isnt|cannot|cant|doesnt"
    r"|tempting|invalid|unlikely)\b"
    r"|\s*:?\s*(?:wrong|incorrect|false|fails|isnt|cannot|cant|doesnt)\b",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|not|wrong|incorrect|isnt|dont|might|may|could|whether|first|initial|common"
    r"|unless)\s+[^.\n]{0,30}\Z",
    re.IGNORECASE,
)
TAIL = 20_000
"""How many of the last characters are searched for statements; boxes and tags are found anywhere."""
REACH = 200
"""How many characters after "the answer is" to search for a letter."""
_WORDS = frozenset("AI")
"""Letters that are also English words."""


def extract_letter(text: str, options: int) -> str | None:
    r"""Return the capital letter of the option that a response gives, or None.

    The last ``\boxed{...}`` or ``<answer>`` with a letter counts; without one, the last "answer is ..."; without that,
    the last option that is called right; without that, what the last line starts with or chooses, or the only option
    on it that is not called wrong; without that, the last letter in parentheses.

    Args:
        text: The answer, without the thought.
        options: Number of options, 2 to 26; letters beyond them do not count.

    Raises:
        InputError: There are more options than letters.
    """
    if not 1 <= options <= MOST:
        raise InputError(
            f"A problem with {options} lettered options cannot be graded: there are {MOST} letters.",
            f"Give each problem 2 to {MOST} options, or none and a free answer.",
        )
    marked = [
        (box.begin, box.content)
        for box in boxes(text)
        if not _NOT.search(text, max(0, box.begin - 40), box.begin)
    ]
    marked += [(found.start(), found[1]) for found in _TAG.finditer(text)]
    for _, content in sorted(marked, reverse=True):
        if letter := _read(content, options, alone=True):
            return letter
    plain = _FRONT.sub("", _STYLES.sub(" ", text).translate(_MARKS).replace("[[", "[").replace("]]", "]"))[
        -TAIL:
    ]
    for found in reversed([*_STATED.finditer(plain)]):
        if _SUPPOSED.search(plain, max(0, found.start() - 60), found.start()):
            continue
        if (letter := _read(plain[found.end() :][:REACH], options)) is not None:
            after = plain[found.end() :][:REACH]
            corrected = _CORRECTED.search(after)
            return (
                (corrected and _chosen(after[corrected.start() :].splitlines()[0], options)) or letter or None
            )
    right = [_of(found) for found in _RIGHT.finditer(plain) if not _denied(plain, found, before=True)]
    if right and right[-1] in LETTERS[:options]:
        return right[-1]
    line = next((line for line in reversed(plain.splitlines()) if line.strip(" .:")), "")
    return _chosen(line, options) or _last_closed(plain, options)


_NOT = re.compile(r"(?:\bnot|n['\u2019]t)\b[^.\n]{0,16}\Z")


def _chosen(line: str, options: int) -> str | None:
    """Return the letter that a line chooses, or the only one on it that it does not call wrong."""
    if re.search(r"\bdecide between\b|\bnot sure\b", line):
        return None
    found_all = (found for found in _MENTION.finditer(line) if _is_letter(line, found))
    mentions = [found for found in found_all if _of(found) in LETTERS[:options]]
    left = {_of(found) for found in mentions if not _denied(line, found)}
    if (
        len(_CLOSED.findall(line)) < 2 and len(_LISTED.findall(line)) < 2
    ):  # a line that speaks of several options is not one of them
        for start in (*(found.end() for found in reversed([*_NAMED.finditer(line)])), 0):
            rest = line[start:][:REACH]
            if (letter := _read(rest, options)) is None:
                continue
            if letter and (
                _WRONG_AFTER.match(rest, _end_of(rest, letter)) or _WRONG_BEFORE.search(line, 0, start)
            ):
                continue
            return letter or None
    if len(mentions) > 1 and len(left) == 1 and (only := left.pop()) in LETTERS[:options]:
        return only
    return None


def _end_of(text: str, letter: str) -> int:
    place = text.upper().find(letter)
    found = re.compile(rf"(?<![A-Za-z]){letter}(?![A-Za-z])[)\]]?", re.IGNORECASE).search(text)
    return found.end() if found else place + 1


def _of(found: re.Match[str]) -> str:
    return found["closed"] or found["bare"]


def _is_letter(line: str, found: re.Match[str]) -> bool:
    """Return whether a capital names an option, and is no word."""
    if found["closed"] or found["bare"] not in _WORDS:
        return True
    return bool(
        _ENDS.match(line, found.end())
        or re.match(r"\s+(?:is|was|cannot|cant|seems|looks|fails)\b", line[found.end() :][:20])
    )


def _denied(text: str, found: re.Match[str], *, before: bool = False) -> bool:
    """Return whether an option is called wrong, by what stands before it, and by what stands behind it."""
    if _WRONG_BEFORE.search(text, max(0, found.start() - 40), found.start()):
        return True
    return not before and bool(_WRONG_AFTER.match(text, found.end()))


def _last_closed(plain: str, options: int) -> str | None:
    last = [*_CLOSED.finditer(plain)][-1:]
    if (
        not last
        or _BEFORE.search(plain, max(0, last[0].start() - REACH), last[0].start())
        or _denied(plain, last[0])
    ):
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
            letter = _of(found)
            sure = bool(found["closed"]) or alone or (letter.isupper() and letter not in _WORDS)
            follows = _ENDS.match(text, found.end()) or _REASON.match(text, found.end())
            if (sure or follows) and letter.upper() in LETTERS[:options]:
                return letter.upper()
    return None
