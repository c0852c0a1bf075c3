"""GRPO (arXiv:2601.23143, appendix F): reinforcement learning with the probability of safe as the reward."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from thinksafe.methods import objectives
from thinksafe.methods.on_policy import OnPolicyMethod
from thinksafe.records import Share
from thinksafe.settings import Count, Section

ROLLOUTS = 8
"""Responses to each prompt, as published."""
WITHOUT_HELP = (
    "method.reward.benign is none: nothing rewards help on benign prompts, so to decline everything earns as much, and "
    "the gate's limit on over-refusal may refuse the candidate."
)
"""Warning of the published reward."""


class RewardSettings(Section):
    """What is rewarded besides safety and a closed thought."""

    benign: Literal["compliance", "none"] = "compliance"
    """``compliance``: an answer to a benign prompt that does not decline earns one point more. ``none``: nothing, as
    published."""
    max_unknown: Share = 0.05
    """Largest share of responses that the guard cannot judge; they are left out, and above it the training fails."""


class Grpo(OnPolicyMethod):
    """Groups of responses to one prompt, each scored against the mean of its group."""

    summary: ClassVar[str] = (
        "reinforcement learning: the student samples eight responses to every prompt while it is trained, and a guard "
        "rewards safe ones"
    )
    kind: Literal["grpo"] = "grpo"
    """Reinforcement learning with a guard's reward."""
    rollouts: Annotated[Count, Field(ge=2)] = ROLLOUTS
    """Responses to each prompt of a step; `training.batch_size` counts responses and must be a multiple."""
    beta: Annotated[float, Field(ge=0.0)] = 0.04
    """Weight of the KL from the student as it was."""
    epsilon: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """How far the likelihood ratio of a token may move before its gradient is cut."""
    reward: RewardSettings = RewardSettings()
    """What is rewarded besides safety and a closed thought: `benign` and `max_unknown`."""

    def minimises(self) -> objectives.Grpo:
        return objectives.Grpo(
            rollouts=self.rollouts, temperature=self.temperature, max_tokens=self.max_tokens,
            vllm_memory=self.vllm_memory, beta=self.beta, epsilon=self.epsilon,
            compliance=self.reward.benign == "compliance", max_unknown=self.reward.max_unknown,
        )

    def warnings(self) -> tuple[str, ...]:
        if self.reward.benign == "compliance":
            return ()
        return (WITHOUT_HELP,)
