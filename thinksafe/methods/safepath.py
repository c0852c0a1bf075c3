"""SafePath (arXiv:2505.14667): only the opening of the thought is learned, the rest is left to the student."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import Method, Responses
from thinksafe.methods.forms import Form
from thinksafe.methods.objectives import Sft
from thinksafe.methods.rules import Rule
from thinksafe.records import Label, Text
from thinksafe.traces import CLOSE


class SafePath(Method):
    """Harmful prompts only; the loss is on the tokens of the opening, and no end of the turn is learned."""

    summary: ClassVar[str] = "to harmful prompts the student learns to open its thought with a cue, and nothing else"
    kind: Literal["safepath"] = "safepath"
    """A cue at the start of the thought."""
    opening: Text = "<think>\nLet's think about safety first."
    """The opening of every response to a harmful prompt."""

    def responses(self) -> Responses:
        return Responses(arms={"harmful": ("template",), "benign": ()}, template="", written=self.opening)

    def rules(self) -> dict[Label, tuple[Rule, ...]]:
        return {"harmful": (), "benign": ()}  # the opening is the configuration's own text, and no whole response

    def forms(self) -> dict[Label, Form]:
        return {"harmful": "opening", "benign": "whole"}

    def minimises(self) -> Sft:
        return Sft()

    def check(self, reasoning: Literal["think", "none"]) -> None:
        if reasoning == "none":
            raise ValueError("method.kind is safepath, but student.reasoning is none: there is no thought to open")
        super().check(reasoning)
        if CLOSE in self.opening:
            raise ValueError(f"method.opening must leave the thought open: it holds {CLOSE}")
