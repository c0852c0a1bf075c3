"""Rejection sampling (arXiv:2601.23143, section 5.4, by SafeChain's protocol): safe plain samples, no steering."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import Method, Responses
from thinksafe.methods.objectives import BenignLoss, Kl, Sft, with_benign_loss
from thinksafe.methods.rules import Keep


class Rejection(Method):
    """All prompts are sampled plain, several times; training is that of ``thinksafe``."""

    summary: ClassVar[str] = (
        "the student writes five responses to every prompt plain, without steering; if all are safe, one of them is "
        "kept"
    )
    samples: ClassVar[int] = 5
    kind: Literal["rejection"] = "rejection"
    """The student's own plain samples."""
    keep: Literal["all-safe", "any"] = "all-safe"
    """``all-safe``: a prompt is kept if all its samples are safe, and one accepted sample is drawn, as published.
    ``any``: one accepted sample is enough, the stronger baseline."""
    benign_loss: BenignLoss = "cross-entropy"
    """Loss of benign rows. ``cross-entropy``: as on harmful rows. ``kl``: forward KL from the student as it
    was, at each response token."""

    def responses(self) -> Responses:
        return Responses(arms={"harmful": ("plain",), "benign": ("plain",)}, template="")

    def keeps(self) -> Keep:
        return self.keep

    def minimises(self) -> Sft | Kl:
        return with_benign_loss(self.benign_loss)
