"""Refusals without reasoning (arXiv:2601.23143, section 5.4 and Figure 11), the ablation."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import DEFAULT_STEERING, Method, Responses
from thinksafe.methods.forms import Form
from thinksafe.methods.objectives import Sft
from thinksafe.methods.steering import Steering
from thinksafe.records import Label


class NoReasoning(Method):
    """The samples are those of ``thinksafe``; the thoughts of refusals are emptied before training."""

    summary: ClassVar[str] = "as `thinksafe`, but refusals are learned without their thoughts"
    kind: Literal["no-reasoning"] = "no-reasoning"
    """The student's own steered samples, refusals without thoughts."""
    steering: Steering = DEFAULT_STEERING
    """Template of the refusal instruction: ``prefix``, ``suffix``, ``both``, ``risk`` or ``intent``."""

    def responses(self) -> Responses:
        return Responses(arms={"harmful": ("steered",), "benign": ("plain",)}, template=self.steering)

    def pilot(self) -> Responses:
        return super().pilot().model_copy(update={"template": self.steering})

    def forms(self) -> dict[Label, Form]:
        return {"harmful": "answer", "benign": "whole"}

    def minimises(self) -> Sft:
        return Sft()
