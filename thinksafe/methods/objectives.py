"""What training minimises, as passed to the train stage; :mod:`thinksafe.training.objectives` has the trainers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from thinksafe.settings import Section


class Sft(Section):
    """Cross-entropy of the response tokens of all rows."""

    kind: Literal["sft"] = "sft"


class Kl(Section):
    """Cross-entropy on harmful rows; on benign ones forward KL from the student with the adapter switched off."""

    kind: Literal["kl"] = "kl"


class SafeKey(Section):
    """Cross-entropy; in the last epochs also losses on key sentences and of a head (docs/methods.md)."""

    kind: Literal["safekey"] = "safekey"
    sentence: int
    key_weight: float
    head_weight: float
    theta: float
    last_epochs: int


Objective = Annotated[Sft | Kl | SafeKey, Field(discriminator="kind")]

BenignLoss = Literal["cross-entropy", "kl"]
"""Loss of benign rows, an option of the methods that train on the student's own samples."""


def with_benign_loss(loss: BenignLoss) -> Sft | Kl:
    """Return the objective for a loss of benign rows."""
    return Kl() if loss == "kl" else Sft()
