"""Cross-entropy, and in the last epochs the two losses of SafeKey (arXiv:2505.16186).

The *key sentence* of a response is the one after the thought has restated the prompt (the *understanding*). It is
predicted a second time with the prompt out of sight, and a head, which is dropped afterwards, tells harmful prompts by
the hidden states before it. Imports torch and TRL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from thinksafe.errors import StageError
from thinksafe.methods.objectives import SafeKey
from thinksafe.training.checkpoints import HEAD
from thinksafe.training.data import IGNORED, Row
from thinksafe.training.key_sentences import Spans, spans_of
from thinksafe.training.logits import CHUNK, Project, cross_entropy, student_of
from thinksafe.training.objectives import Given, sft


class SafetyHead(torch.nn.Module):
    """Two logits of "harmful" for each row: from the mean state of the understanding, and of everything up to its end.

    Args:
        width: Hidden size.
        seed: For the first weights; the training's other random numbers stay the same.
    """

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.understanding, self.context = torch.nn.Linear(width, 1), torch.nn.Linear(width, 1)

    def forward(self, understood: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both logits [rows] from the two mean states [rows, hidden size]."""
        return self.understanding(understood).squeeze(-1), self.context(seen).squeeze(-1)


class SafeKeyTrainer(sft.SftTrainer):
    """See the module."""

    logged: ClassVar[tuple[str, ...]] = ("cross_entropy", "key_sentence", "safety_head")

    def __init__(self, given: Given, **named: Any) -> None:
        super().__init__(given, **named)
        objective = given.section.objective
        if not isinstance(objective, SafeKey):
            raise TypeError(f"the objective is {objective.kind}, not safekey")
        self._objective, self._epochs = objective, given.section.training.epochs
        self._sums = torch.zeros(3, 2, dtype=torch.float64)
        self._items = [1, 1]
        model: Any = self.model
        student = student_of(model)
        # part of the model, so that optimiser, gradient clipping and several processes treat it as they do the rest;
        # what is written takes nothing but the adapter, or the weights that the student had
        student.safety_head = self._head = SafetyHead(
            student.config.get_text_config().hidden_size, given.section.seed
        ).to(student.device)

    @classmethod
    def columns(cls, rows: list[Row], given: Given) -> dict[str, list[Any]]:
        objective = given.section.objective
        sentence = objective.sentence if isinstance(objective, SafeKey) else 0
        spans = [spans_of(row, given.tokenizer, given.section.reasoning, sentence) for row in rows]
        if not any(spans):
            examples = sum(any(label != IGNORED for label in row.labels) for row in rows)
            raise StageError(
                f"No thought of the {examples:,} examples has a sentence {sentence}, the key one.",
                "Lower method.sentence, or give responses with longer thoughts.",
            )
        return {
            "spans": [list(found or Spans(0, 0, 0)) for found in spans],
            "harmful": [float(row.label == "harmful") for row in rows],
        }

    @property
    def _own_loss(self) -> bool:
        return True

    @property
    def _active(self) -> bool:
        """Whether this epoch is one of the last, with all three losses."""
        epoch = self.state.global_step // -(-len(self._lengths) // self._batch)
        return bool(epoch >= self._epochs - self._objective.last_epochs)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Also count the key sentences' tokens, and their rows, of the whole effective batch."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        spans = torch.cat([batch["spans"] for batch in batches]) if batches else torch.zeros(0, 3, dtype=torch.long)
        counts = torch.stack([(spans[:, 2] - spans[:, 1]).sum(), (spans[:, 2] > 0).sum()]).to(device)
        self._items = [max(1, int(count)) for count in self.accelerator.reduce(counts, "sum").tolist()]
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the batch's share of the loss; each of its parts is a mean over the whole effective batch."""
        spans, labels = inputs["spans"], inputs["labels"]
        start, understood, end = spans.T

        def losses(project: Project, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
            targets = labels[:, 1:]
            response = targets != IGNORED
            place = torch.arange(states.shape[1], device=states.device)
            before = place < understood[:, None]
            return (
                cross_entropy(project, states[response], targets[response], CHUNK).sum(),
                _mean(states, before & (place >= start[:, None])), _mean(states, before),
            )

        plain, *means = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], compute=losses
        )
        found = end > 0
        target = inputs["harmful"][found]
        told = [
            torch.nn.functional.binary_cross_entropy_with_logits(logit[found], target, reduction="sum")
            for logit in self._head(*means)
        ]
        theta = self._objective.theta
        head = theta * told[0] + (1 - theta) * told[1]
        total = plain / num_items_in_batch
        if self._active:
            # outside DistributedDataParallel, where one process may have key sentences and another none
            key = self._key_loss(self.accelerator.unwrap_model(model), inputs["input_ids"][found], spans[found])
            total = total + self._objective.key_weight * key / self._items[0]
            total = total + self._objective.head_weight * head / self._items[1]
            self._note(plain, (labels[:, 1:] != IGNORED).sum(), key, (end - understood).sum(), head, found.sum())
        else:
            total = total + 0.0 * head  # several processes expect a gradient of every weight in each step
        return total * self.accelerator.num_processes

    def _key_loss(self, model: Any, input_ids: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Return the summed loss of the key sentences where the model sees the response before them, not the prompt.

        The prompt is left out and the positions stay: what attention to it masked would give.
        """
        if not len(spans):
            return input_ids.new_zeros((), dtype=torch.float32)
        start, understood, end = spans.T
        width = int((end - start).max())
        place = torch.arange(width, device=input_ids.device)
        there = place < (end - start)[:, None]
        positions = start[:, None] + place
        ids = input_ids.gather(1, positions.clamp(max=input_ids.shape[1] - 1)) * there
        key = (there & (positions >= understood[:, None]))[:, 1:]

        def loss(project: Project, states: torch.Tensor) -> torch.Tensor:
            return cross_entropy(project, states[key], ids[:, 1:][key], CHUNK).sum()

        found: torch.Tensor = model(
            input_ids=ids, attention_mask=there.long(), position_ids=positions, compute=loss
        )
        return found

    def _note(self, *sums: torch.Tensor) -> None:
        self._sums += torch.stack([value.detach().double().cpu() for value in sums]).reshape(3, 2)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add, in the last epochs, the losses: a response token, a token of key sentences, and a row of the head."""
        if "loss" in logs:
            sums = self.accelerator.reduce(self._sums.to(self.accelerator.device), "sum").tolist()
            logs |= {name: value / count for name, (value, count) in zip(self.logged, sums, strict=True) if count}
            self._sums.zero_()
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save adapter and head, for a checkpoint."""
        from safetensors.torch import save_file

        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            state = {name: weight.detach().cpu().contiguous() for name, weight in self._head.state_dict().items()}
            save_file(state, Path(output_dir or str(self.args.output_dir)) / HEAD)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        from safetensors.torch import load_file

        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._head.load_state_dict(load_file(Path(resume_from_checkpoint) / HEAD))


def _mean(states: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Return the mean of the states [rows, tokens, hidden size] at some tokens, 0 at none, in float32."""
    weight = where.float()[..., None]
    return (states.float() * weight).sum(1) / weight.sum(1).clamp(min=1)


def make(given: Given) -> sft.SftTrainer:
    """Return the trainer."""
    return sft.make(given, SafeKeyTrainer)
