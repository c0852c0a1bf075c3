"""What methods share whose training samples the responses itself: options of sampling, and prompts as examples."""

from __future__ import annotations

from abc import ABC
from typing import Annotated, ClassVar

from pydantic import Field

from thinksafe.methods.base import Method, Responses
from thinksafe.methods.rules import Rule
from thinksafe.records import Label
from thinksafe.settings import Count


class OnPolicyMethod(Method, ABC):
    """Base of these methods. Nothing is filtered: the student learns from what it writes while it is trained."""

    needs_latent_safety: ClassVar[bool] = False
    shards: ClassVar[bool] = False
    temperature: Annotated[float, Field(gt=0.0, le=2.0)] = 1.0
    """Temperature at which training samples the student."""
    max_tokens: Count = 4096
    """Limit of new tokens of a response in training; a longer one is cut."""
    vllm_memory: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    """Share of a GPU's memory for vLLM, which samples in the training process; unused on CPUs."""

    def responses(self) -> Responses:
        return Responses(arms={"harmful": ("rollout",), "benign": ("rollout",)}, template="")

    def rules(self) -> dict[Label, tuple[Rule, ...]]:
        return {"harmful": (), "benign": ()}
