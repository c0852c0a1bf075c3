"""Cross-entropy on harmful rows, forward KL from the original student on benign ones.

The original student is the model with the adapter switched off or, where all weights are trained, a frozen copy: 2
bytes a parameter more in bfloat16. Imports torch and TRL.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from thinksafe.training.data import IGNORED, Row
from thinksafe.training.logits import CHUNK, add_losses, frozen_copy, projection_of, reference_states
from thinksafe.training.objectives import Given, sft


class KlTrainer(sft.SftTrainer):
    """See the module."""

    logged: ClassVar[tuple[str, ...]] = ("cross_entropy", "kl")

    def __init__(self, given: Given, **named: Any) -> None:
        self._sums: torch.Tensor | None = None
        self._frozen = None
        if given.lora is None:
            self._frozen = frozen_copy(given.model, given.dtype)
            add_losses(self._frozen, CHUNK)
        super().__init__(given, **named)

    @classmethod
    def columns(cls, rows: list[Row], given: Given) -> dict[str, list[Any]]:  # noqa: ARG003
        return {"benign": [row.label == "benign" for row in rows]}

    @property
    def _own_loss(self) -> bool:
        return True

    def _sum(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        # outside DistributedDataParallel, where one process may have benign rows and another none
        frozen, projection = self._frozen, None
        if frozen is not None:
            projection = projection_of(frozen, frozen.get_output_embeddings())
        of = frozen if frozen is not None else self.accelerator.unwrap_model(model)
        reference = reference_states(of, inputs, always=self._sharded)
        found = model(**inputs, reference=reference, projection=projection)
        response, benign = inputs["labels"][:, 1:] != IGNORED, inputs["benign"][:, None]
        sums = [found["cross_entropy"], (response & ~benign).sum(), found["kl"], (response & benign).sum()]
        new = torch.stack([value.detach().double() for value in sums])
        self._sums = new if self._sums is None else self._sums + new
        total: torch.Tensor = found["cross_entropy"] + found["kl"]
        return total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add ``cross_entropy`` (nats per response token of harmful rows) and ``kl`` (of benign ones) to the loss."""
        if self._sums is not None and "loss" in logs:
            total = self.accelerator.reduce(self._sums, "sum").tolist()
            names = ("cross_entropy", "kl")
            logs |= {name: total[2 * at] / total[2 * at + 1] for at, name in enumerate(names) if total[2 * at + 1]}
            self._sums = None
        super().log(logs, start_time)


def make(given: Given) -> sft.SftTrainer:
    """Return the trainer."""
    return sft.make(given, KlTrainer)
