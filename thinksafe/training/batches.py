"""Rows for trainers: the data set, the collator, and an order that a resumed training reproduces.

It imports torch and TRL, so import it only where training happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from thinksafe.digests import derived_seed
from thinksafe.training.data import IGNORED, Row

SORTED = 50
"""Forward passes whose rows are sorted by length together: more would pad less, and mix rows less."""


class EpochOrder(torch.utils.data.Sampler[int]):
    """Rows in an order that seed and epoch determine, with rows of similar length in the same forward pass.

    Rows are shuffled, sorted by length ``SORTED`` passes at a time, and cut into passes; then the passes are shuffled,
    so that chance decides how many short and long rows (mostly refusals and answers) an optimiser step sees.

    Args:
        lengths: Tokens of each row.
        rows: Rows of a forward pass; the last one of an epoch may have fewer.
        multiple: Rows that all processes take at once. The end is filled up with the row ``len(lengths)``, which has no
            loss, so that each row counts once with any number of processes.
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
    """Pads a batch; passes on the columns that an objective adds."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        for name in examples[0].keys() - {"input_ids", "labels"}:
            batch[name] = torch.tensor([example[name] for example in examples])
        return batch


def dataset(rows: list[Row], columns: Callable[[list[Row]], dict[str, list[Any]]]) -> Dataset:
    """Return the rows in TRL's form, followed by one without loss (see :class:`EpochOrder`).

    Args:
        rows: Encoded examples.
        columns: Returns what else the objective wants to know of each row, numbers by name.
    """
    every = [*rows, Row("", rows[0].input_ids[:2], [IGNORED, IGNORED], "harmful")]
    return Dataset.from_dict(
        {"input_ids": [row.input_ids for row in every], "labels": [row.labels for row in every], **columns(every)}
    )
