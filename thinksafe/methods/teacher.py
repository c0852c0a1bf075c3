"""An external teacher (arXiv:2601.23143, section 5.4): another model's samples in place of the student's own."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import DEFAULT_STEERING, Method, Responses
from thinksafe.methods.objectives import Sft
from thinksafe.methods.steering import Steering
from thinksafe.settings import StudentSettings


class Teacher(Method):
    """The teacher's samples are filtered and trained on just like the student's own."""

    summary: ClassVar[str] = (
        "another model writes both responses: to harmful prompts steered by a refusal instruction or plain, to benign "
        "ones plain"
    )
    needs_latent_safety: ClassVar[bool] = False
    kind: Literal["teacher"] = "teacher"
    """Samples of another model."""
    teacher: StudentSettings
    """The other model, with the keys of ``student``; the engine is the student's."""
    steered: bool = True
    """Put the refusal instruction in front of harmful prompts."""
    steering: Steering = DEFAULT_STEERING
    """Template of the refusal instruction: ``prefix``, ``suffix``, ``both``, ``risk`` or ``intent``."""

    def responses(self) -> Responses:
        arm: Literal["steered", "plain"] = "steered" if self.steered else "plain"
        return Responses(
            arms={"harmful": (arm,), "benign": ("plain",)}, template=self.steering if self.steered else "",
            teacher=self.teacher,
        )

    def minimises(self) -> Sft:
        return Sft()
