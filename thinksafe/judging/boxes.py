r"""Find ``\boxed{...}`` in a text."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"(?P<box>\\f?box(?:ed)?\s*\{)|\\.|[{}]", re.DOTALL)


def boxes(text: str) -> list[str]:
    r"""Return the contents of the boxes of a text, in the order in which they close.

    ``\boxed``, ``\fbox`` and ``\box`` count; escaped braces are ignored. Empty and unclosed boxes are left out, and so
    are boxes around another box. The time is linear in the length of the text.
    """
    found: list[str] = []
    opened: list[int | None] = []  # where the content of each open brace begins, None for one that is no box
    inner = -1  # where the last box that was found begins
    for token in _TOKEN.finditer(text):
        if token["box"]:
            opened.append(token.end())
        elif token.group() == "{":
            opened.append(None)
        elif token.group() == "}" and opened:
            begin = opened.pop()
            if begin is not None and begin > inner and (content := text[begin : token.start()].strip()):
                inner = begin
                found.append(content)
    return found
