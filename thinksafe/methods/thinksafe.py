"""ThinkSafe (arXiv:2601.23143): the student repairs itself from its own steered samples."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import DEFAULT_STEERING, Method, Responses
from thinksafe.methods.objectives import BenignLoss, Kl, Sft, with_benign_loss
from thinksafe.methods.steering import Steering


class ThinkSafe(Method):
    """Harmful prompts are sampled with a refusal instruction in front, benign ones plain."""

    summary: ClassVar[str] = (
        "the student writes both responses: to harmful prompts steered by a refusal instruction, which is left out of "
        "the examples, to benign ones plain"
    )
    kind: Literal["thinksafe"] = "thinksafe"
    """The student's own steered samples."""
    steering: Steering = DEFAULT_STEERING
    """Template of the refusal instruction: ``prefix``, ``suffix``, ``both``, ``risk`` or ``intent``."""
    benign_loss: BenignLoss = "cross-entropy"
    """Loss of benign rows. ``cross-entropy``: as on harmful rows. ``kl``: forward KL from the student as it
    was, at each response token."""

    def responses(self) -> Responses:
        return Responses(arms={"harmful": ("steered",), "benign": ("plain",)}, template=self.steering)

    def pilot(self) -> Responses:
        return super().pilot().model_copy(update={"template": self.steering})

    def minimises(self) -> Sft | Kl:
        return with_benign_loss(self.benign_loss)
