r"""The text of an answer without its markup: formulas become one sign each, emphasis, fences and bullets go away.

A sentence can then be searched by its words and full stops, and a formula with line breaks and points in it holds
together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_HTML = re.compile(r"</?(?:b|strong|i|em|p|br|u|code|span|div|center|h\d)\s*/?>", re.IGNORECASE)
_BULLET = re.compile(r"^[ \t]*(?:[-*+\u2022]|>)[ \t]+(?=\S)", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*(?:#{1,6} )?\d{1,2}[.)][ \t]+(?=[^\W\d_])", re.MULTILINE)
_STRONG = re.compile(r"(?=[*_`])(?:(?<!\d)\*\*|\*\*(?!\d)|(?<![\w\\{])__(?=\S)|(?<=\S)__(?![\w{])|`)")
_EMPHASIS = re.compile(r"(?<![\w*\\)}])([*_])(?=\S)([^*_\n]{1,80}?)(?<=\S)\1(?![\w*({\\])")
_FORMULA = re.compile(
    r"(?=[\\$])(?:(?<!\\)\$\$(?P<dollars>.{1,1200}?)\$\$|(?<!\\)\\\[(?P<display>.{1,1200}?)\\\]"
    r"|(?<!\\)\\\((?P<inline>.{1,1200}?)\\\)"
    r"|(?<![\\$])\$(?![\s$])(?P<dollar>(?:\\.|[^$\n\\]){1,600}?)(?<![\s\\])\$(?!\d)"
    r"|(?<![\\$])\$\s*(?P<padded>(?:\\.|[^$\n\\]){0,600}?[\\^_={](?:\\.|[^$\n\\]){0,600}?)\s*\$(?!\d)"
    r"|(?<![\\$])\$\s*(?P<matrix>[^$]{0,200}?\\begin\{(?P<shape>\w*matrix|array"
    r"|cases)\}.{1,800}?\\end\{(?P=shape)\}[^$]{0,200}?)\s*\$"
    r"|(?P<bare>\\begin\{(?P<environment>\w*matrix|array|cases|equation\*?|align\*?"
    r"|gather\*?)\}.{1,1200}?\\end\{(?P=environment)\}))",
    re.DOTALL,
)
_CALCULATED = re.compile(r"<<[^<>\n]{1,200}>>")
"""The calculator notes of GSM8K."""
_TABLE = re.compile(r"^\|[ *]*(?:final )?answer[ *:]*\|(.{1,300})\|[ \t]*$", re.IGNORECASE | re.MULTILINE)
_PICTURES = re.compile("[\U0001f300-\U0001faff\u2600-\u2714\u2716-\u27bf\ufe0f]")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n(?: ?\n)+")
_CONTENTS = ("dollars", "display", "inline", "dollar", "padded", "matrix", "bare")
_WRAPPER = re.compile(r"\\(?:begin|end)\{(?:equation|align|gather)\*?\}")
_PLACE = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Passage:
    """A text with a sign for each formula."""

    text: str
    formulas: tuple[str, ...]

    def restored(self, text: str) -> str:
        """Return a part of the text with the formulas in it."""
        if whole := _PLACE.fullmatch(text.strip()):
            return self.formulas[int(whole[1])]
        return _PLACE.sub(lambda found: f" ${self.formulas[int(found[1])]}$ ", text).strip()


def _last_row(content: str) -> str:
    """Return the last row of aligned formulas, with those before it that it goes on from."""
    if "\\begin" in content:
        return content
    rows = [row.replace("&", " ").strip() for row in re.split(r"\\\\(?:\[[^\]]{0,9}\])?", content)]
    last = [row for row in rows if row]
    start = next((place for place in range(len(last) - 1, 0, -1) if last[place][0] != "="), 0)
    return " ".join(last[start:])


def passage_of(text: str) -> Passage:
    """Return a text without markup. The time is bounded by its length."""
    text = (
        text.replace("\r\n", "\n")
        .replace("\uff1a", ":")
        .replace("\u3002", ". ")
        .replace("\uff0c", ", ")
        .replace("\ue000", "")
        .replace("\ue001", "")
    )
    text = text.replace("\u2019", "'").replace("\\$", "\uff04")
    text = _LINES.sub("\n\n", _SPACES.sub(" ", _HTML.sub("", _FENCE.sub("", text))))
    text = _TABLE.sub(r"\nAnswer: \1\n", text)
    text = _PICTURES.sub("", _CALCULATED.sub("", text))
    formulas: list[str] = []

    def keep(found: re.Match[str]) -> str:
        content = next(content for content in found.group(*_CONTENTS) if content is not None)
        content = _last_row(_WRAPPER.sub("", content)) if _WRAPPER.search(content) else content
        formulas.append(content.replace("\uff04", "\\$").strip())
        return f"\ue000{len(formulas) - 1}\ue001"

    text = _FORMULA.sub(keep, text)
    text = _STRONG.sub("", _NUMBERED.sub("", _BULLET.sub("", text)))
    text = re.sub(r"\bapprox\.", "approx", _EMPHASIS.sub(r"\2", text))
    return Passage(text.replace("\uff04", "$"), tuple(formulas))
