"""On-policy self-distillation (OPSA, arXiv:2605.15239): the teacher is the student that sees a safety context."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import DEFAULT_STEERING, Responses
from thinksafe.methods.objectives import SelfDistillation as Objective
from thinksafe.methods.on_policy import OnPolicyMethod
from thinksafe.methods.steering import Steering, steering_template


class SelfDistillation(OnPolicyMethod):
    """Nothing filters what is learned, so the student gets at best as safe as the context makes it.

    The pilot steers with the context: its flip rate is the teacher flip rate.
    """

    summary: ClassVar[str] = (
        "the student samples while it is trained, and learns at every token the probabilities of its original self, to "
        "which harmful prompts come in a safety context"
    )
    needs_latent_safety: ClassVar[bool] = True
    kind: Literal["self-distillation"] = "self-distillation"
    """The probabilities of the original student in a safety context, on the student's own samples."""
    context: Steering = DEFAULT_STEERING
    """Template of the context, a steering template; the pilot tells how many unsafe responses it turns safe."""

    def pilot(self) -> Responses:
        return super().pilot().model_copy(update={"template": self.context})

    def minimises(self) -> Objective:
        return Objective(
            temperature=self.temperature, max_tokens=self.max_tokens, vllm_memory=self.vllm_memory,
            context=steering_template(self.context),
        )
