"""The original student, which drift compares with: the rows and, if all weights are trained, what it made of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from thinksafe.config.sections import TrainSection
from thinksafe.methods.objectives import OnPolicy
from thinksafe.training import sharding
from thinksafe.training.data import Row
from thinksafe.training.drift import Noted, chosen_rows, note_student

if TYPE_CHECKING:
    import torch


def drift_rows(model: Any, tokenizer: Any, rows: list[Row], section: TrainSection) -> list[Row]:
    """Return the rows that drift is measured on: examples or, where these are prompts, responses of the student."""
    if not isinstance(section.objective, OnPolicy):
        return chosen_rows(rows, section.seed)
    from thinksafe.training.replies import replies

    return replies(model, tokenizer, rows, section.seed, section.objective.max_tokens)


def computing(dtype: torch.dtype, full: bool) -> AbstractContextManager[Any]:
    """Compute in the student's number format, as training does, although all weights are held in float32."""
    import torch

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(kind, dtype) if full and dtype == torch.bfloat16 else nullcontext()


class Original:
    """The rows of drift and what the student made of them before all its weights were trained.

    Args:
        dtype: Number format in which the student computes.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype, self._done = dtype, False
        self.rows: list[Row] = []
        self.noted: Noted | None = None
        """None if there is an adapter, which can be switched off."""

    def note(self, model: Any, advance: Callable[[int], None]) -> None:
        """Read the rows with a model that has not been trained yet, once."""
        if not self._done:
            self._done = True
            with computing(self._dtype, True):
                self.noted = note_student(model, self.rows, self._dtype, advance)

    def note_when_sharded(self, trainer: Any) -> None:
        """Read them once the weights are sharded, and before those of a checkpoint are loaded."""
        from transformers import TrainerCallback

        note, load = self.note, trainer._load_from_checkpoint

        def loading(folder: str, model: Any = None) -> None:
            note(model, lambda _: None)
            sharding.reshard(model)
            load(folder, model)

        class Start(TrainerCallback):
            def on_train_begin(self, *_: Any, **named: Any) -> None:
                note(named["model"], lambda _: None)

        trainer._load_from_checkpoint = loading
        trainer.add_callback(Start())
