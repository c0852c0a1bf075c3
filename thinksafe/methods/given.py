"""Responses that a data set brings: SafeChain (arXiv:2502.12025), STAR-1 (arXiv:2504.01903), or the user's own."""

from __future__ import annotations

from typing import ClassVar, Literal

from thinksafe.methods.base import WITHOUT_BENIGN, Method, Responses
from thinksafe.methods.objectives import Sft
from thinksafe.records import Arm


class Given(Method):
    """The sets of ``data`` name the field of the response; a guard judges the responses as any others."""

    summary: ClassVar[str] = "the data set brings the responses; nothing is sampled, but where `benign` says so"
    needs_latent_safety: ClassVar[bool] = False
    kind: Literal["given"] = "given"
    """Responses of a data set."""
    benign: Literal["given", "plain", "none"] = "given"
    """Responses to benign prompts. ``given``: the data set's. ``plain``: the student's own samples. ``none``: no benign
    rows."""

    def responses(self) -> Responses:
        benign: dict[str, tuple[Arm, ...]] = {"given": ("given",), "plain": ("plain",), "none": ()}
        return Responses(arms={"harmful": ("given",), "benign": benign[self.benign]}, template="")

    def minimises(self) -> Sft:
        return Sft()

    def warnings(self) -> tuple[str, ...]:
        return (WITHOUT_BENIGN,) if self.benign == "none" else ()
