"""SafeKey (arXiv:2505.16186): given responses, and more weight on the sentence in which a thought finds harm."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from thinksafe.methods.base import Method, Responses
from thinksafe.methods.objectives import SafeKey as Losses
from thinksafe.records import Arm, Share
from thinksafe.settings import Count

Weight = Annotated[float, Field(ge=0.0, le=10.0)]


class SafeKey(Method):
    """As ``given``, with two more losses in the last epochs (:mod:`thinksafe.training.objectives.safekey`)."""

    summary: ClassVar[str] = (
        "as `given`, and in the last epochs two more losses: on the thought's key sentence with the prompt out of "
        "sight, and of a head that tells harmful prompts by the hidden states before it"
    )
    needs_latent_safety: ClassVar[bool] = False
    shards: ClassVar[bool] = False
    kind: Literal["safekey"] = "safekey"
    """Responses of a data set, with more weight on their key sentences."""
    benign: Literal["given", "plain"] = "given"
    """Responses to benign prompts, from which the head tells harmful ones. ``given``: the data set's. ``plain``: the
    student's own samples."""
    sentence: Annotated[int, Field(ge=2, le=20)] = 2
    """Which sentence of the thought is the key one; those before it restate the prompt. Published: found by another
    model in each response."""
    key_weight: Weight = 0.2
    """Weight of the loss on key sentences."""
    head_weight: Weight = 0.2
    """Weight of the head's loss."""
    theta: Share = 0.5
    """Share of the head's loss that is on the understanding alone; the rest is on prompt and understanding."""
    last_epochs: Count = 2
    """Epochs, the last ones, with all three losses; in the others only cross-entropy trains."""

    def responses(self) -> Responses:
        benign: Arm = "given" if self.benign == "given" else "plain"
        return Responses(arms={"harmful": ("given",), "benign": (benign,)}, template="")

    def minimises(self) -> Losses:
        return Losses(
            sentence=self.sentence, key_weight=self.key_weight, head_weight=self.head_weight, theta=self.theta,
            last_epochs=self.last_epochs,
        )

    def check(self, reasoning: Literal["think", "none"]) -> None:
        if reasoning == "none":
            raise ValueError("method.kind is safekey, but student.reasoning is none: no thought has a key sentence")
        super().check(reasoning)
