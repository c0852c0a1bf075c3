"""What training minimises, as passed to the train stage; :mod:`thinksafe.training.objectives` has the trainers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from thinksafe.records import Share
from thinksafe.settings import Count, Section


class Sft(Section):
    """Cross-entropy of the response tokens of all rows."""

    kind: Literal["sft"] = "sft"


class Kl(Section):
    """Cross-entropy on harmful rows; on benign ones forward KL from the student as it was."""

    kind: Literal["kl"] = "kl"


class SafeKey(Section):
    """Cross-entropy; in the last epochs also losses on key sentences and of a head (docs/methods.md)."""

    kind: Literal["safekey"] = "safekey"
    sentence: int
    key_weight: float
    head_weight: float
    theta: float
    last_epochs: int


class OnPolicy(Section):
    """Base of the objectives whose training samples the responses itself, to examples that are prompts alone."""

    rollouts: Count = 1
    """Responses to each prompt of a step; ``training.batch_size`` counts responses."""
    temperature: Annotated[float, Field(gt=0.0, le=2.0)] = 1.0
    """Of sampling; the loss reads the student at the same temperature."""
    max_tokens: Count = 4096
    """Limit of new tokens; a response that reaches it is truncated."""
    vllm_memory: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    """Share of a GPU's memory for vLLM, which samples in the training process."""


class Grpo(OnPolicy):
    """Group-relative policy optimisation: the clipped gain of each response's reward over the mean of its group."""

    kind: Literal["grpo"] = "grpo"
    beta: Annotated[float, Field(ge=0.0)]
    """Weight of the KL from the student as it was."""
    epsilon: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Clipping of the likelihood ratio."""
    compliance: bool
    """Compliance with a benign prompt earns a point."""
    max_unknown: Share
    """Largest share of responses without a reward."""


class Distillation(OnPolicy):
    """Reverse KL from a teacher at each token that the student samples, over the whole vocabulary."""

    kind: Literal["distillation"] = "distillation"


class SelfDistillation(OnPolicy):
    """Half forward, half reverse KL from the original student at each token that the student samples.

    On harmful rows the original student reads the prompt in the context, on benign ones as it is.
    """

    kind: Literal["self-distillation"] = "self-distillation"
    context: str
    """Text with ``{prompt}`` once; empty for the one that the diagnosis chooses."""


Objective = Annotated[Sft | Kl | SafeKey | Grpo | Distillation | SelfDistillation, Field(discriminator="kind")]

BenignLoss = Literal["cross-entropy", "kl"]
"""Loss of benign rows, an option of the methods that train on the student's own samples."""


def with_benign_loss(loss: BenignLoss) -> Sft | Kl:
    """Return the objective for a loss of benign rows."""
    return Kl() if loss == "kl" else Sft()
