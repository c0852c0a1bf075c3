"""TRL's SFTTrainer with an order of rows that a resumed training finds again, and with forward KL on benign rows.

Imports torch and TRL: to be imported only where training happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from thinksafe.digests import derived_seed
from thinksafe.training.adapters import adapter_state, write_adapter
from thinksafe.training.data import IGNORED, Row
from thinksafe.training.kl import add_losses, check_projection, reference_states
from thinksafe.training.sharding import checkpoint_layers

SORTED = 50
"""Forward passes whose rows are sorted by length together: more would pad less, and mix rows less."""


class EpochOrder(torch.utils.data.Sampler[int]):
    """Rows in an order that seed and epoch determine, rows of like length in the same forward pass.

    Rows are shuffled, sorted by length ``SORTED`` passes at a time, and cut into passes; then the passes are shuffled,
    so that what an optimiser step sees of short and long rows (mostly refusals and answers) is left to chance.

    Args:
        lengths: Tokens of each row.
        rows: Rows of a forward pass; the last one of an epoch may have fewer.
        multiple: Rows that all processes take at once. The end is made up with the row ``len(lengths)``, which has no
            loss, so that each row counts once whatever the number of processes.
        seed: Seed of all epochs.
        epoch: Returns the current epoch, from 0.
    """

    def __init__(self, lengths: list[int], rows: int, multiple: int, seed: int, epoch: Callable[[], int]) -> None:
        self._lengths, self._rows, self._seed, self._epoch = lengths, rows, seed, epoch
        self._fill = -len(lengths) % multiple

    def __len__(self) -> int:
        return len(self._lengths) + self._fill

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(derived_seed(self._seed, "order", self._epoch()))
        rows = draw.sample(range(len(self._lengths)), len(self._lengths))
        size, passes = self._rows, []
        for start in range(0, len(rows), SORTED * size):
            part = sorted(rows[start : start + SORTED * size], key=lambda row: -self._lengths[row])
            passes += [part[at : at + size] for at in range(0, len(part), size)]
        short = [passes.pop()] if len(rows) % size else []
        draw.shuffle(passes)
        for part in [*passes, *short]:
            yield from part
        yield from [len(self._lengths)] * self._fill


class Collator(DataCollatorForLanguageModeling):
    """Pads a batch; hands on which rows are benign, where a row says so."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        if "benign" in examples[0]:
            batch["benign"] = torch.tensor([example["benign"] for example in examples])
        return batch


def dataset(rows: list[Row], benign: bool) -> Dataset:
    """Return the rows as TRL takes them, and behind them one without loss (see :class:`EpochOrder`).

    Args:
        rows: Encoded examples.
        benign: Whether to say of each row if it is benign.
    """
    empty = Row("", rows[0].input_ids[:2], [IGNORED, IGNORED], "harmful")
    columns: dict[str, list[Any]] = {
        "input_ids": [row.input_ids for row in (*rows, empty)], "labels": [row.labels for row in (*rows, empty)],
    }
    if benign:
        columns["benign"] = [row.label == "benign" for row in (*rows, empty)]
    return Dataset.from_dict(columns)


class AdapterTrainer(SFTTrainer):
    """See the module.

    Args:
        rows: Encoded examples.
        batch: Rows an optimiser step, over all processes.
        micro: Rows of a forward pass, were there one process.
        chunk: Tokens of which our own losses hold the logits at once.
        kl: Whether benign rows have the forward KL for their loss; else all rows have cross-entropy.
        named: Arguments of SFTTrainer.
    """

    def __init__(self, *, rows: list[Row], batch: int, micro: int, chunk: int, kl: bool, **named: Any) -> None:
        super().__init__(train_dataset=dataset(rows, kl), **named)
        self._lengths, self._batch, self._micro = [len(row.input_ids) for row in rows], batch, micro
        self._kl, self._sharded = kl, bool(self.is_fsdp_enabled)
        self._sums: torch.Tensor | None = None
        model: Any = self.model
        # TRL's own cross-entropy reads the head's weights past its forward, where a shard is all there is
        if kl or self._sharded:
            student = model.get_base_model()
            if self.is_world_process_zero() or not self._sharded:  # the others have no weights yet
                check_projection(student)
            add_losses(student, chunk)
        if self._sharded:
            checkpoint_layers(model)

    def _send_telemetry(self) -> None:
        """Tell nobody: the name of a student is its owner's business."""

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        together = self.args.per_device_train_batch_size * self.args.world_size
        steps = -(-len(self._lengths) // self._batch)
        # from the step, not from set_epoch, which accelerate's wrappers do not hand on when batches are skipped
        return EpochOrder(
            self._lengths, self._micro, together, self.args.seed, lambda: self.state.global_step // steps
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the batch's share of the loss: sums over response tokens by those of the whole effective batch."""
        if not self._kl and not self._sharded:
            return super().compute_loss(  # type: ignore[no-untyped-call]
                model, inputs, return_outputs, num_items_in_batch
            )
        # outside DistributedDataParallel, where one process may have benign rows and another none
        reference = None
        if self._kl:
            reference = reference_states(self.accelerator.unwrap_model(model), inputs, always=self._sharded)
        else:
            inputs["benign"] = inputs["labels"].new_zeros(len(inputs["labels"]), dtype=torch.bool)
        found = model(**inputs, reference=reference)
        response = inputs["labels"][:, 1:] != IGNORED
        benign = inputs["benign"][:, None]
        if self._kl:
            sums = [found["cross_entropy"], (response & ~benign).sum(), found["kl"], (response & benign).sum()]
            new = torch.stack([value.detach().double() for value in sums])
            self._sums = new if self._sums is None else self._sums + new
        # num_items_in_batch counts the response tokens of all processes and accumulation steps, whose mean is taken
        return (found["cross_entropy"] + found["kl"]) / num_items_in_batch * self.accelerator.num_processes

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the adapter, for a checkpoint; transformers would gather the whole student for it."""
        if not self._sharded:
            super().save_model(output_dir, _internal_call)
            return
        state = adapter_state(self.model, sharded=True)
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            write_adapter(self.model, state, folder)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add ``cross_entropy`` (nats a response token of harmful rows) and ``kl`` (of benign ones) to the loss."""
        if self._sums is not None and "loss" in logs:
            total = self.accelerator.reduce(self._sums, "sum").tolist()
            names = ("cross_entropy", "kl")
            logs |= {name: total[2 * at] / total[2 * at + 1] for at, name in enumerate(names) if total[2 * at + 1]}
            self._sums = None
        super().log(logs, start_time)
