"""Rejection sampling, the ablation: those of the student's plain samples that the guard finds safe."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import Method, Responses
from thinksafe.methods.objectives import BenignLoss, Kl, Sft, with_benign_loss


class Rejection(Method):
    """All prompts are sampled plain; curation and training are those of ``thinksafe``."""

    summary: ClassVar[str] = "the student writes both responses plain, without steering; what the guard accepts is kept"
    kind: Literal["rejection"] = "rejection"
    """The student's own plain samples."""
    benign_loss: BenignLoss = "cross-entropy"
    """Loss of benign rows. ``cross-entropy``: as on harmful rows. ``kl``: forward KL from the student with the adapter
    switched off, at each response token."""

    def responses(self) -> Responses:
        return Responses(arms={"harmful": ("plain",), "benign": ("plain",)}, template="")

    def minimises(self) -> Sft | Kl:
        return with_benign_loss(self.benign_loss)
