r"""Split an answer, in LaTeX, Unicode or plain text, into tokens.

``\tfrac``, ``½`` and ``1/2`` end as the same few tokens; layout (``\left``, ``\,``, ``$``) leaves no token. Nothing
else is dropped: a sign or command without a meaning here becomes a token that no reading accepts.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from thinksafe.judging.answers.vocabulary import FUNCTIONS, GREEK, NOUNS, UNITS, word_set

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


_SIGNS = {
    "\u2212": "-",
    "\u2013": "-",
    "\u2012": "-",
    "\u2010": "-",
    "\u2011": "-",
    "\ufe63": "-",
    "\u00d7": r"\times ",
    "\u2715": r"\times ",
    "\u2a2f": r"\times ",
    "\u00b7": r"\cdot ",
    "\u22c5": r"\cdot ",
    "\u2217": "*",
    "\u2219": r"\cdot ",
    "\u00f7": "/",
    "\u2044": "/",
    "\u2215": "/",
    "\u2264": r"\le ",
    "\u2a7d": r"\le ",
    "\u2265": r"\ge ",
    "\u2a7e": r"\ge ",
    "\u2260": r"\ne ",
    "\u2248": r"\approx ",
    "\u2243": r"\approx ",
    "\u2245": r"\approx ",
    "\u221e": r"\infty ",
    "\u221a": r"\root ",
    "\u221b": r"\cbrt ",
    "\u222a": r"\cup ",
    "\u2229": r"\cap ",
    "\u2216": r"\setminus ",
    "\u2208": r"\in ",
    "\u2205": r"\emptyset ",
    "\u00b0": r"\degree ",
    "\u00ba": r"\degree ",
    "\u00b1": r"\pm ",
    "\u2213": r"\mp ",
    "\u2032": "'",
    "\u2019": "'",
    "\u2018": "'",
    "\u201c": " ",
    "\u201d": " ",
    "\u2026": r"\ldots ",
    "\u230a": r"\lfloor ",
    "\u230b": r"\rfloor ",
    "\u2308": r"\lceil ",
    "\u2309": r"\rceil ",
    "\u27e8": r"\langle ",
    "\u27e9": r"\rangle ",
    "\u2329": r"\langle ",
    "\u232a": r"\rangle ",
    "\u211d": r"\mathbb{R}",
    "\u2124": r"\mathbb{Z}",
    "\u2115": r"\mathbb{N}",
    "\u211a": r"\mathbb{Q}",
    "\u2102": r"\mathbb{C}",
    "\u2223": "|",
    "\uff1a": ":",
    "\u2236": ":",
    "\u00ac": r"\neg ",
    "\u200b": "",
    "\ufeff": "",
    "\u2061": "",
    "\u2062": "",
    "\u200c": "",
    "\u2060": "",
}
_SUPER = {sign: unicodedata.normalize("NFKC", sign).replace("\u2212", "-") for sign in "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ"}
_SUB = {sign: unicodedata.normalize("NFKC", sign).replace("\u2212", "-") for sign in "₀₁₂₃₄₅₆₇₈₉"}
_RAISED, _LOWERED = (re.compile(f"[{''.join(signs)}]+") for signs in (_SUPER, _SUB))
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")
_CURRENCY = "£€¥₹₽₩₪¢"
_THOUSANDS = re.compile(
    r"(?<=\d)(?:\\,|\\!|\{,\}|,\\!|\\ |\\;|\\:|\{\\,\}|[ \u00a0\u2009\u202f_])(?=\d{3}(?![\d/^]))"
)
r"""What stands between thousands besides a comma: ``1{,}000``, ``1\,000``, ``1 000``."""

_LAYOUT = word_set(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle "
    "limits "
    "scriptstyle nolimits quad qquad hfill centering boxed fbox space thinspace , ; : ! ( ) [ ] > enspace "
    "bf rm it sf tt em mathrm mathbf unboldmath large Large strut mathstrut nobreak allowbreak cal $"
)
_UPRIGHT = word_set(
    "text textnormal textrm textup textsf texttt mbox hbox mathrm textbf textit emph operatorname"
)
_STYLED = word_set("mathbf mathit mathsf mathtt boldsymbol bm mathnormal pmb underline ensuremath")
_SAME = {
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "nicefrac": "frac",
    "sfrac": "frac",
    "dbinom": "binom",
    "tbinom": "binom",
    "leq": "le",
    "leqslant": "le",
    "geq": "ge",
    "geqslant": "ge",
    "neq": "ne",
    "lt": "<",
    "gt": ">",
    "ast": "*",
    "cdotp": "cdot",
    "uppi": "pi",
    "varnothing": "emptyset",
    "lbrace": "{",
    "rbrace": "}",
    "lbrack": "[",
    "rbrack": "]",
    "lparen": "(",
    "rparen": ")",
    "vert": "|",
    "lvert": "|",
    "rvert": "|",
    "mid": "|",
    "circ": "degree",
    "degrees": "degree",
    "colon": ":",
    "lor": "or",
    "vee": "or",
    "land": "and",
    "wedge": "and",
    "div": "/",
    "approxeq": "approx",
    "sim": "approx",
    "simeq": "approx",
    "dots": "ldots",
    "cdots": "ldots",
    "textdollar": "$",
    "backslash": "setminus",
    "smallsetminus": "setminus",
    "imath": "i",
    "percent": "%",
    "tg": "tan",
    "ctg": "cot",
    "Reals": "R",
    "R": "R",
    "Z": "Z",
    "N": "N",
    "pounds": "",
    "euro": "",
    "infinity": "infty",
    "inf": "infty",
    "varphi": "phi",
    "varepsilon": "epsilon",
    "vartheta": "theta",
    "dotsc": "ldots",
    "slash": "/",
    "le": "le",
    "lang": "langle",
    "rang": "rangle",
    "bigcup": "cup",
    "textdegree": "degree",
    "textpm": "pm",
    "tan": "tan",
    "prime": "'",
    "equiv": "equiv",
    "plusmn": "pm",
    "to": "to",
    "textpi": "pi",
}
_SIGN_COMMANDS = frozenset("{}[]()|<>*/:%'")
_PLAIN = {
    "sqrt": "sqrt",
    "pi": "pi",
    "infinity": "infty",
    "inf": "infty",
    "infty": "infty",
    "cbrt": "cbrt",
    "binom": "binom",
    "union": "cup",
    "percent": "%",
    "degrees": "degree",
    "degree": "degree",
    "pct": "%",
}
r"""Words of plain text that stand for a command."""

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


def plain_signs(text: str) -> str:
    """Return a text whose Unicode mathematics is written as LaTeX."""
    if text.isascii():
        return text
    text = _VULGAR.sub(_vulgar, text)
    text = _RAISED.sub(lambda found: _script("^", found.group(), _SUPER), text)
    text = _LOWERED.sub(lambda found: _script("_", found.group(), _SUB), text)
    signs = (
        _SIGNS.get(sign) or (rf"\{GREEK[sign]} " if sign in GREEK else sign)
        for sign in text
        if _SIGNS.get(sign) != ""
    )
    # full-width digits and letters, spaces of all widths
    return unicodedata.normalize("NFKC", "".join(signs))


def _vulgar(found: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", found.group()).partition("\u2044")
    return rf"\frac{{{over or 0}}}{{{under or 1}}}"


def _script(mark: str, signs: str, plain: dict[str, str]) -> str:
    return f"{mark}{{{''.join(plain[sign] for sign in signs)}}}"


def tokenize(text: str) -> list[Token]:
    """Return the tokens of an answer; of one longer than ``LONGEST`` a token that nothing reads."""
    if len(text) > LONGEST:
        return [Token("sign", "\0")]
    return _Tokenizer(_THOUSANDS.sub(",", plain_signs(text.strip("*_` \n")))).all(upright=False)


class _Tokenizer:
    def __init__(self, text: str) -> None:
        self._text = text

    def all(self, *, upright: bool) -> list[Token]:
        """Return all tokens of the text."""
        text, found, place, spaced, depth = self._text, list[Token](), 0, False, 0
        while place < len(text):
            if (long := _GROUPED.match(text, place)) and depth <= 0 and not text[place - 1 : place].isdigit():
                found.append(Token("number", long.group().replace(",", ""), spaced, upright))
                place, spaced = long.end(), False
                continue
            match = _SCIENTIFIC.match(text, place)
            if match:
                found.append(Token("number", match.group(), spaced, upright))
                place, spaced = match.end(), False
                continue
            match = _TOKEN.match(text, place)
            assert match is not None
            place = match.end()
            kind = match.lastgroup
            if kind in ("space", "currency"):
                spaced = True
                continue
            if match["begin"]:
                name = match["environment"].rstrip("*")
                found.append(Token("command", f"{match['begin']} {name}", spaced))
            elif kind == "row":
                found.append(Token("command", "row", spaced))
            elif kind == "command":
                name = match["command"]
                if name in ("left", "right") and text[place : place + 1] == ".":
                    place, spaced = place + 1, True
                    continue
                if name in _UPRIGHT | _STYLED | {"mathbb"} and (inner := _braced(text, place)):
                    content, place = inner
                    found += self._styled(name, content, spaced, upright)
                    spaced = False
                    continue
                if name in ("phantom", "hspace", "vspace", "tag", "label") and (
                    inner := _braced(text, place)
                ):
                    place, spaced = inner[1], True
                    continue
                if name in _LAYOUT or name.isspace() or not _SAME.get(name, "x"):
                    spaced = True
                    continue
                found.append(_command(_SAME.get(name, name), spaced, upright))
            elif kind == "letters":
                found += _letters(match["letters"], spaced, upright)
            elif kind == "number":
                found.append(Token("number", match["number"], spaced, upright))
            else:
                sign = {"**": "^", "<=": r"\le", ">=": r"\ge", "!=": r"\ne"}.get(match["sign"], match["sign"])
                found.append(
                    _command(sign[1:], spaced, upright)
                    if len(sign) > 1
                    else Token("sign", sign, spaced, upright)
                )
                if sign == "~":
                    found.pop()
                    spaced = True
                    continue
            spaced = False
            last = found[-1].text if found else ""
            depth += 1 if last in ("(", "[", "\\{") else -1 if last in (")", "]", "\\}") else 0
        return found

    def _styled(self, name: str, content: str, spaced: bool, upright: bool) -> list[Token]:
        if name == "mathbb" and len(content.strip()) == 1:
            return [Token("command", f"mathbb {content.strip()}", spaced)]
        plain = content.strip()
        if name == "operatorname" and plain in FUNCTIONS:
            return [Token("command", plain, spaced)]
        if name == "operatorname" and not plain.islower():
            return [Token("command", f"operatorname {plain}", spaced)]
        inner = _Tokenizer(content).all(upright=(upright or name in _UPRIGHT) and "$" not in content)
        if name in _STYLED or (name == "mathrm" and len(inner) == 1):
            # styled mathematics holds together: 2\mathbf{x}, \mathbf{\frac{1}{2}}
            return (
                [Token("sign", "{", spaced), *inner, Token("sign", "}")]
                if len(inner) != 1
                else [Token(inner[0].kind, inner[0].text, spaced or inner[0].spaced, inner[0].upright)]
            )
        if inner and not (name == "operatorname" and any(token.kind == "word" for token in inner)):
            first = inner[0]
            return [
                Token(first.kind, first.text, spaced or first.spaced or content[:1].isspace(), first.upright),
                *inner[1:],
            ]
        return [Token("command", f"operatorname {plain}", spaced)] if inner else []


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


def _command(name: str, spaced: bool, upright: bool) -> Token:
    if name in ("{", "}"):
        return Token("sign", "\\" + name, spaced, upright)
    if name in _SIGN_COMMANDS:
        return Token("sign", name, spaced, upright)
    if name in ("and", "or"):
        return Token("word", name, spaced, upright)
    if name in ("i", "R", "Z", "N"):
        return Token("symbol", "i", spaced) if name == "i" else Token("command", f"mathbb {name}", spaced)
    return Token("command", name, spaced, upright)


def _letters(run: str, spaced: bool, upright: bool) -> list[Token]:
    """Return the tokens of a run of letters: a word, a command, or one symbol a letter."""
    lower = run.lower()
    if run in _PLAIN or (lower in _PLAIN and len(run) > 2):
        name = _PLAIN.get(run) or _PLAIN[lower]
        return [Token("sign" if name == "%" else "command", name, spaced)]
    if run in FUNCTIONS:
        return [Token("command", run, spaced)]
    if len(run) == 1:
        return [Token("symbol", run, spaced, upright)]
    if upright or not run.isascii() or lower in NOUNS or run in UNITS:
        return [Token("word", run, spaced, upright)]
    for name in sorted(FUNCTIONS | {"sqrt", "pi"}, key=len, reverse=True):
        if run.startswith(name) and len(run) - len(name) == 1:  # sinx
            return [Token("command", name, spaced), Token("symbol", run[len(name) :])]
        if run.endswith(name) and len(run) - len(name) == 1 and len(name) > 2:  # xsqrt(2)
            return [Token("symbol", run[0], spaced), Token("command", name)]
    if len(run) > 3 and not _in_order(lower):
        return [Token("word", run, spaced)]
    return [Token("symbol", letter, spaced and place == 0) for place, letter in enumerate(run)]


def _in_order(run: str) -> bool:
    """Return whether letters follow each other as variables do: ``abcd``, ``wxyz``."""
    return all(ord(second) - ord(first) in (0, 1) for first, second in pairwise(run))
