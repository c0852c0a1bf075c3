r"""Split an answer, in LaTeX, Unicode or plain text, into tokens.

``\tfrac``, ``½`` and ``1/2`` end as the same few tokens; layout (``\left``, ``\,``, ``$``) leaves no token. Nothing
else is dropped: a sign or command without a meaning here becomes a token that no reading accepts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from thinksafe.judging.answers.notation import LAYOUT, PLAIN, SAME, STYLED, UNSEEN, UPRIGHT, plain_signs
from thinksafe.judging.answers.vocabulary import FUNCTIONS, NOUNS, UNITS

LONGEST = 1000
"""Longest answer that is read, in characters; no reference answer comes near it."""

Kind = Literal["number", "symbol", "word", "command", "sign"]


@dataclass(frozen=True)
class Token:
    """One token of an answer."""

    kind: Kind
    """``symbol`` is one letter, ``word`` several; ``command`` is a name without its backslash."""
    text: str
    spaced: bool = False
    """White space stands before it."""
    upright: bool = False
    r"""It stands in ``\text{...}`` or the like, where letters are rather words or units than variables."""


_CURRENCY = "£€¥₹₽₩₪¢"
_THOUSANDS = re.compile(
    r"(?<=\d)(?:\\,|\\!|\{,\}|,\\!|\\ |\\;|\\:|\{\\,\}|[ \u00a0\u2009\u202f_])(?=\d{3}(?![\d/^]))"
)
r"""What stands between thousands besides a comma: ``1{,}000``, ``1\,000``, ``1 000``."""

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<currency>\\?\$|[" + _CURRENCY + r"])"
    r"|\\(?P<begin>begin|end)\s*\{\s*(?P<environment>[a-zA-Z*]+)\s*\}(?:\s*\{[lcr|\s]*\})?"
    r"|(?P<row>\\\\(?:\[[^\]]{0,9}\])?)|\\(?P<command>[a-zA-Z]+|.)"
    r"|(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE](?:[-+]?\d{2,}|\d)(?!\w))?)"
    r"|(?P<letters>[^\W\d_]+(?:'(?:t|s|re|ll|ve|d|m)\b)?)|(?P<sign>\*\*|<=|>=|!=|.)",
    re.DOTALL,
)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d]|,\d)(?:\.\d+)?")
_SCIENTIFIC = re.compile(r"\d+\.\d+[eE][-+]?\d+(?!\w)|1[eE][-+]\d+(?!\w)")
_HELD = re.compile(r"\{([:;=<>])\}")
"""A sign in braces, which LaTeX sets without space around it."""
_SPELLED = {"**": "^", "<=": "le", ">=": "ge", "!=": "ne"}
_SIGN_COMMANDS = frozenset("{}[]()|<>*/:%'^")
_GLUED = sorted(FUNCTIONS | {"sqrt", "pi"}, key=len, reverse=True)


def tokenize(text: str) -> list[Token]:
    """Return the tokens of an answer; of one longer than ``LONGEST`` a token that nothing reads."""
    if len(text) > LONGEST:
        return [Token("sign", "\0")]
    if len(text) > 2 and text[0] == text[-1] == "'":
        text = text[1:-1]
    return _Tokenizer(_THOUSANDS.sub(",", _HELD.sub(r"\1", plain_signs(text.strip("*_` \n")))), upright=False).all()


class _Tokenizer:
    """Goes through a text once; styled arguments are texts of their own."""

    def __init__(self, text: str, *, upright: bool) -> None:
        self._text, self._upright = text, upright
        self._place, self._depth, self._spaced = 0, 0, False
        self._found: list[Token] = []

    def all(self) -> list[Token]:
        """Return all tokens of the text."""
        while self._place < len(self._text):
            self._step()
        return self._found

    def _step(self) -> None:
        text, place = self._text, self._place
        grouped = _GROUPED.match(text, place) if self._depth <= 0 and not text[place - 1 : place].isdigit() else None
        if number := grouped or _SCIENTIFIC.match(text, place):
            self._place = number.end()
            return self._add("number", number.group().replace(",", ""))
        match = _TOKEN.match(text, place)
        assert match is not None
        self._place = match.end()
        if match["begin"]:
            self._add("command", f"{match['begin']} {match['environment'].rstrip('*')}")
        elif match.lastgroup == "row":
            self._add("command", "row")
        elif match.lastgroup == "command":
            self._command(match["command"])
        elif match.lastgroup == "letters":
            self._put(_letters(match["letters"], self._upright))
        elif match.lastgroup == "number":
            self._add("number", match["number"])
        elif match["sign"] and match["sign"] != "~":
            sign = match["sign"]
            self._put([_named(_SPELLED[sign]) if sign in _SPELLED else Token("sign", sign)])
        else:
            self._spaced = True
        return None

    def _command(self, name: str) -> None:
        if name in ("left", "right") and self._text[self._place : self._place + 1] == ".":
            self._place += 1
        elif name in UPRIGHT | STYLED | UNSEEN | {"mathbb"} and (inner := _braced(self._text, self._place)):
            content, self._place = inner
            if name not in UNSEEN:
                return self._put(self._styled(name, content), content[:1].isspace())
        elif name not in LAYOUT and not name.isspace():
            return self._put([_named(SAME.get(name, name))])
        self._spaced = True
        return None

    def _styled(self, name: str, content: str) -> list[Token]:
        plain = content.strip()
        if name == "mathbb" and len(plain) == 1:
            return [Token("command", f"mathbb {plain}")]
        if name == "operatorname" and plain in FUNCTIONS:
            return [Token("command", plain)]
        inner = _Tokenizer(content, upright=(self._upright or name in UPRIGHT) and "$" not in content).all()
        if name == "operatorname":
            return [Token("command", f"operatorname {plain}")]
        if name in STYLED and len(inner) != 1:  # it holds together: \mathbf{\frac{1}{2}}
            return [Token("sign", "{"), *inner, Token("sign", "}")]
        return inner

    def _add(self, kind: Kind, text: str) -> None:
        self._put([Token(kind, text)])

    def _put(self, tokens: list[Token], spaced: bool = False) -> None:
        """Add tokens; white space before them belongs to the first."""
        for token in tokens:
            self._found.append(
                Token(token.kind, token.text, token.spaced or spaced or self._spaced, token.upright or self._upright)
            )
            self._spaced = spaced = False
        last = tokens[-1].text if len(tokens) == 1 else ""
        self._depth += 1 if last in ("(", "[", "\\{") else -1 if last in (")", "]", "\\}") else 0


def _braced(text: str, place: int) -> tuple[str, int] | None:
    """Return the content of the braces that follow, and where they end."""
    start = place
    while start < len(text) and text[start].isspace():
        start += 1
    if text[start : start + 1] != "{":
        return None
    depth = 0
    for end in range(start, len(text)):
        if text[end - 1] == "\\":
            continue
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + 1 : end], end + 1
    return None


def _named(name: str) -> Token:
    """Return the token of a command."""
    if name in ("{", "}"):
        return Token("sign", "\\" + name)
    if name in _SIGN_COMMANDS:
        return Token("sign", name)
    if name in ("and", "or"):
        return Token("word", name)
    if name == "i":
        return Token("symbol", name)
    return Token("command", f"mathbb {name}" if name in ("R", "Z", "N") else name)


def _letters(run: str, upright: bool) -> list[Token]:
    """Return the tokens of a run of letters: a word, a command, or one symbol a letter."""
    lower = run.lower()
    if run in PLAIN or (lower in PLAIN and len(run) > 2):
        return [_named(PLAIN.get(run) or PLAIN[lower])]
    if run in FUNCTIONS:
        return [Token("command", run)]
    if len(run) == 1:
        return [Token("symbol", run)]
    if upright or not run.isascii() or lower in NOUNS or run in UNITS:
        return [Token("word", run)]
    for name in _GLUED:
        if run.startswith(name) and len(run) - len(name) == 1:  # sinx
            return [Token("command", name), Token("symbol", run[len(name) :])]
        if run.endswith(name) and len(run) - len(name) == 1 and len(name) > 2:  # xsqrt(2)
            return [Token("symbol", run[0]), Token("command", name)]
    if len(run) > 3 and not _in_order(lower):
        return [Token("word", run)]
    return [Token("symbol", letter) for letter in run]


def _in_order(run: str) -> bool:
    """Return whether letters follow each other as variables do: ``abcd``, ``wxyz``."""
    return all(ord(second) - ord(first) in (0, 1) for first, second in pairwise(run))
