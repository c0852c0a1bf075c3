"""On-policy distillation (arXiv:2601.23143, appendix F.4): own responses, another model's probabilities."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.objectives import Distillation
from thinksafe.methods.on_policy import OnPolicyMethod
from thinksafe.settings import StudentSettings


class OnPolicyDistillation(OnPolicyMethod):
    """Each token that the student samples is scored by the teacher over the whole vocabulary."""

    summary: ClassVar[str] = (
        "the student samples while it is trained, and learns at every token the probabilities of a teacher of the same "
        "vocabulary"
    )
    kind: Literal["on-policy-distillation"] = "on-policy-distillation"
    """Another model's probabilities on the student's own samples."""
    teacher: StudentSettings
    """The other model, with the keys of ``student``; its vocabulary must be the student's."""

    def other(self) -> StudentSettings:
        return self.teacher

    def minimises(self) -> Distillation:
        return Distillation(temperature=self.temperature, max_tokens=self.max_tokens, vllm_memory=self.vllm_memory)
