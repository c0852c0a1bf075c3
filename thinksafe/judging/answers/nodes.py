"""Expressions as trees, and the tokens that they are read from."""

from __future__ import annotations

from dataclasses import dataclass

from thinksafe.judging.answers.tokens import Token

DEEPEST = 40
"""Most levels of nesting that are read."""


class Unreadable(Exception):
    """The text is not, or not wholly, an answer that this grammar knows."""


@dataclass(frozen=True)
class Node:
    """A part of an expression: an operation and what it is applied to."""

    op: str
    args: tuple[Node, ...] = ()
    text: str = ""
    """Digits of a number, name of a symbol or function, brackets of a group, signs of a relation."""


class Cursor:
    """A place in a list of tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0
        self._bars = 0  # open |...|, in which a further bar closes

    def peek(self, ahead: int = 0) -> Token | None:
        """Return a token without taking it, None behind the end."""
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def at(self, *texts: str, kind: str = "") -> bool:
        """Return whether the next token is one of some signs or commands."""
        token = self.peek()
        return (
            token is not None
            and token.kind in ("sign", "command")
            and token.text in texts
            and kind in ("", token.kind)
        )

    def take(self, text: str = "") -> Token:
        """Take the next token. Raises Unreadable if there is none, or another than ``text``."""
        token = self.peek()
        if token is None or (text and not self.at(text)):
            raise Unreadable
        self._place += 1
        return token

    def _inside(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unreadable
