r"""Signs and commands that mean the same: Unicode as LaTeX, and the many names of one command."""

from __future__ import annotations

import re
import unicodedata

from thinksafe.judging.answers.vocabulary import GREEK, spellings, word_set

_SIGNS = {
    sign: name if len(name) == 1 else name + " "
    for sign, name in spellings("""
- = \u2212 \u2013 \u2012 \u2010 \u2011 \ufe63
\\times = \u00d7 \u2715 \u2a2f
\\cdot = \u00b7 \u22c5 \u2219
* = \u2217
/ = \u00f7 \u2044 \u2215
\\le = \u2264 \u2a7d
\\ge = \u2265 \u2a7e
\\ne = \u2260
\\approx = \u2248 \u2243 \u2245
\\infty = \u221e
\\root = \u221a
\\cbrt = \u221b
\\cup = \u222a
\\cap = \u2229
\\setminus = \u2216
\\in = \u2208
\\emptyset = \u2205
\\degree = \u00b0 \u00ba
\\pm = \u00b1
\\mp = \u2213
' = \u2032 \u2019 \u2018
\\ldots = \u2026
\\lfloor = \u230a
\\rfloor = \u230b
\\lceil = \u2308
\\rceil = \u2309
\\langle = \u27e8 \u2329
\\rangle = \u27e9 \u232a
\\mathbb{R} = \u211d
\\mathbb{Z} = \u2124
\\mathbb{N} = \u2115
\\mathbb{Q} = \u211a
\\mathbb{C} = \u2102
| = \u2223
: = \uff1a \u2236
\\neg = \u00ac
""").items()
}
_NOTHING = str.maketrans("\u201c\u201d", "  ", "\u200b\ufeff\u2061\u2062\u200c\u2060")
_SUPER = {sign: unicodedata.normalize("NFKC", sign).replace("\u2212", "-") for sign in "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ"}
_SUB = {sign: unicodedata.normalize("NFKC", sign).replace("\u2212", "-") for sign in "₀₁₂₃₄₅₆₇₈₉"}
_RAISED, _LOWERED = (re.compile(f"[{''.join(signs)}]+") for signs in (_SUPER, _SUB))
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")

SAME = spellings("""
frac = dfrac tfrac cfrac nicefrac sfrac
binom = dbinom tbinom
le = leq leqslant
ge = geq geqslant
ne = neq
< = lt
> = gt
* = ast
cdot = cdotp
pi = uppi textpi
emptyset = varnothing
{ = lbrace
} = rbrace
[ = lbrack
] = rbrack
( = lparen
) = rparen
| = vert lvert rvert mid
degree = circ degrees textdegree
: = colon
or = lor vee
and = land wedge
/ = div slash
approx = approxeq sim simeq
ldots = dots cdots dotsc
$ = textdollar
setminus = backslash smallsetminus
i = imath
% = percent
tan = tg
cot = ctg
R = Reals
infty = infinity inf
phi = varphi
epsilon = varepsilon
theta = vartheta
langle = lang
rangle = rang
cup = bigcup
pm = textpm plusmn
' = prime
""")
"""The name of a command by its other names."""
PLAIN = spellings("""
sqrt = sqrt
pi = pi
infty = infinity inf infty
cbrt = cbrt
binom = binom
cup = union
% = percent pct
degree = degrees degree
""")
"""Words of plain text that stand for a command."""
LAYOUT = word_set(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle limits "
    "scriptstyle nolimits quad qquad hfill centering boxed fbox space thinspace , ; : ! ( ) [ ] > enspace bf rm it sf "
    "tt em mathrm mathbf unboldmath large Large strut mathstrut nobreak allowbreak cal $ pounds euro"
)
"""Commands that change nothing but looks."""
UPRIGHT = word_set(
    "text textnormal textrm textup textsf texttt mbox hbox mathrm textbf textit emph operatorname"
)
"""Commands whose argument is words, or letters that are rather words than variables."""
STYLED = word_set("mathbf mathit mathsf mathtt boldsymbol bm mathnormal pmb underline ensuremath")
"""Commands whose argument stays mathematics."""
UNSEEN = word_set("phantom hspace vspace tag label")
"""Commands whose argument is not part of the answer."""


def plain_signs(text: str) -> str:
    """Return a text whose Unicode mathematics is written as LaTeX."""
    if text.isascii():
        return text
    text = _VULGAR.sub(_vulgar, text)
    text = _RAISED.sub(lambda found: _script("^", found.group(), _SUPER), text)
    text = _LOWERED.sub(lambda found: _script("_", found.group(), _SUB), text)
    signs = (_SIGNS.get(sign) or (rf"\{GREEK[sign]} " if sign in GREEK else sign) for sign in text.translate(_NOTHING))
    # full-width digits and letters, spaces of all widths
    return unicodedata.normalize("NFKC", "".join(signs))


def _vulgar(found: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", found.group()).partition("\u2044")
    return rf"\frac{{{over or 0}}}{{{under or 1}}}"


def _script(mark: str, signs: str, plain: dict[str, str]) -> str:
    return f"{mark}{{{''.join(plain[sign] for sign in signs)}}}"
