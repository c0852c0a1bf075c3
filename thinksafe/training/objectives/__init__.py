"""What training minimises: one module per objective, whose function ``make`` returns a TRL trainer.

Everything around the trainer (resuming, finite checks, drift, the adapter, checkpoints) is in
:mod:`thinksafe.training.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from thinksafe.config.sections import TrainSection
from thinksafe.settings import StudentSettings
from thinksafe.store import Store
from thinksafe.training.data import Row

if TYPE_CHECKING:
    from transformers import TrainerCallback


MODULES = {
    "sft": "thinksafe.training.objectives.sft", "kl": "thinksafe.training.objectives.kl",
    "safekey": "thinksafe.training.objectives.safekey",
    "grpo": "thinksafe.training.objectives.grpo", "distillation": "thinksafe.training.objectives.distillation",
    "self-distillation": "thinksafe.training.objectives.self_distillation",
}
"""Module of each objective by kind; imported only where training happens."""


@dataclass(frozen=True)
class Given:
    """The inputs of a trainer."""

    model: Any
    """The student, without an adapter."""
    student: StudentSettings
    """Its settings."""
    store: Store
    """Where adapters are."""
    tokenizer: Any
    rows: list[Row]
    section: TrainSection
    lora: Any
    """PEFT's LoraConfig; None if all weights are trained."""
    dtype: Any
    """Torch's number format in which the student is loaded to be sampled, and computes while it is trained."""
    arguments: dict[str, Any]
    """Arguments of every trainer: schedule, batches, checkpoints, number format, and no reports to third parties."""
    callbacks: list[TrainerCallback]


def make_trainer(given: Given) -> Any:
    """Return the trainer of the section's objective; ``trainer.logged`` names what it logs besides the loss."""
    return import_module(MODULES[given.section.objective.kind]).make(given)
