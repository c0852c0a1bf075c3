"""A tiny student that is trained on fixed rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TrainSection
from thinksafe.methods.objectives import Kl, Sft
from thinksafe.models.loading import load_model, load_tokenizer
from thinksafe.models.references import ModelReference
from thinksafe.records import Label
from thinksafe.run.record import StageContext, silent
from thinksafe.store.local import LocalStore
from thinksafe.training.data import IGNORED, Row
from thinksafe.training.fit import Training, train_student

SETTINGS = TrainingSettings(
    lora_rank=4, lora_alpha=8, lora_dropout=0.0, learning_rate=1e-2, batch_size=4, micro_batch_size=4, epochs=2,
    threads=1,
)


def rows(count: int = 6) -> list[Row]:
    """Return rows of 9 to 9 + 3 * count tokens whose first 4 are prompt; every other one is benign."""
    found = []
    for index in range(count):
        ids = [(7 * index + 3 * place) % 250 for place in range(9 + 3 * index)]
        label: Label = "benign" if index % 2 else "harmful"
        found.append(Row(f"row-{index}", ids, [IGNORED] * 4 + ids[4:], label))
    return found


def section(seed: int = 1, objective: Sft | Kl | None = None, **changes: Any) -> TrainSection:
    training = TrainingSettings.model_validate(SETTINGS.model_dump() | changes)
    return TrainSection(seed=seed, training=training, objective=objective or Sft(), reasoning="think")


@dataclass
class Student:
    """A tiny student, loaded anew for each training."""

    base: ModelReference
    store: LocalStore

    def load(self) -> tuple[Any, Any]:
        return load_model(self.base, self.store), load_tokenizer(self.base)

    def train(self, folder: Path, given: TrainSection, data: list[Row] | None = None) -> Training:
        folder.mkdir()
        model, tokenizer = self.load()
        context = StageContext(self.store, "run", "train", "train", silent)
        return train_student(context, model, tokenizer, data or rows(), given, self.base.student, folder)
