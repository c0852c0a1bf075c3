"""DirectRefusal (Safety Tax, arXiv:2503.00555): one fixed thought and refusal for every harmful prompt."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import WITHOUT_BENIGN, Method, Responses
from thinksafe.methods.objectives import Sft
from thinksafe.records import Arm, Text
from thinksafe.traces import CLOSE, split

# the thought is the published one; the published refusals come from a data set, ours is one sentence
REFUSAL = "<think>\nI should not answer this question!\n</think>\n\nI'm sorry, but I can't help with that request."


class DirectRefusal(Method):
    """Nothing is sampled for harmful prompts; the original has no benign rows."""

    summary: ClassVar[str] = "every harmful prompt gets one fixed thought and refusal; nothing is sampled for it"
    needs_latent_safety: ClassVar[bool] = False
    kind: Literal["direct-refusal"] = "direct-refusal"
    """A fixed refusal."""
    refusal: Text = REFUSAL
    """The response to every harmful prompt, thought included."""
    benign: Literal["none", "plain"] = "none"
    """Responses to benign prompts. ``none``: no benign rows, as published, which over-refuses (XSTest 83.6 % on
    Qwen3-0.6B). ``plain``: the student's own samples."""

    def responses(self) -> Responses:
        benign: tuple[Arm, ...] = () if self.benign == "none" else ("plain",)
        return Responses(arms={"harmful": ("template",), "benign": benign}, template="", written=self.refusal)

    def minimises(self) -> Sft:
        return Sft()

    def check(self, reasoning: Literal["think", "none"]) -> None:
        super().check(reasoning)
        if reasoning == "think" and not split(self.refusal, reasoning).answered:
            raise ValueError(f"method.refusal must close its thought ({CLOSE}) and then decline")

    def warnings(self) -> tuple[str, ...]:
        return () if self.benign == "plain" else (WITHOUT_BENIGN,)
