r"""Find ``\boxed{...}`` in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<box>\\f?box(?:ed)?\s*\{)|(?P<bare>\\boxed(?:[ \t]+(?P<word>[-\w.,/]*\w)|(?P<sign>\w)(?!\w)))|\\."
    r"|[{}]",
    re.DOTALL,
)


@dataclass(frozen=True)
class Box:
    """A box in a text."""

    content: str
    begin: int
    """Where the command begins."""
    end: int
    """Where the text goes on behind it."""


def boxes(text: str) -> list[Box]:
    r"""Return the boxes of a text, in the order in which they close.

    ``\boxed``, ``\fbox`` and ``\box`` count, and ``\boxed C`` without braces; escaped braces are ignored. Empty and
    unclosed boxes are left out, and so are boxes around another box. The time is linear in the length of the text.
    """
    found: list[Box] = []
    opened: list[
        tuple[int, int] | None
    ] = []  # where a box and its content begin, None for a brace that opens no box
    inner = -1  # where the last box that was found begins
    for token in _TOKEN.finditer(text):
        if token["box"]:
            opened.append((token.start(), token.end()))
        elif token["bare"]:
            inner = token.start()
            found.append(Box(token["word"] or token["sign"], token.start(), token.end()))
        elif token.group() == "{":
            opened.append(None)
        elif token.group() == "}" and opened:
            box = opened.pop()
            if box is not None and box[0] > inner and (content := text[box[1] : token.start()].strip()):
                inner = box[0]
                found.append(Box(content, box[0], token.end()))
    return found
