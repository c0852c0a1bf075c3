"""On-policy self-distillation: 0.5 forward + 0.5 reverse KL from the original student, which sees a safety context.

TRL's trainer of distillation samples and takes the steps; the loss is ours, because the teacher is the student with its
adapter switched off (a frozen copy, where all weights are trained), reads another prompt, and TRL's generalised
divergence at 0.5 is Jensen and Shannon's. Logits of the whole vocabulary exist for a chunk of tokens at a time. Imports
torch and TRL.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from trl.trainer.distillation_config import DistillationConfig
from trl.trainer.distillation_trainer import DistillationTrainer as TrlTrainer

from thinksafe.methods.steering import steer
from thinksafe.models.loading import positions_of
from thinksafe.models.templates import render_prompt
from thinksafe.sampling.lengths import too_long
from thinksafe.training.data import Row
from thinksafe.training.logits import (
    CHUNK,
    Project,
    as_reference,
    at_projection,
    check_projection,
    frozen_copy,
    projection_of,
    student_of,
    symmetric_kl,
)
from thinksafe.training.objectives import Given
from thinksafe.training.objectives.rollouts import Rollouts, sampling_arguments


class SelfDistillationTrainer(Rollouts, TrlTrainer):
    """See the module. The loss is in nats a response token."""

    logged: ClassVar[tuple[str, ...]] = ("mean_length", "truncated")

    def __init__(self, given: Given, **named: Any) -> None:
        self._read = {tuple(row.input_ids): _teacher_ids(given, row) for row in given.rows}
        self._frozen = frozen_copy(given.model, given.dtype) if given.lora is None else None
        super().__init__(given, teacher_model=None, **named)

    def _compute_loss(
        self, unwrapped_student: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        response, answered = inputs["completion_ids"], inputs["completion_mask"]
        keep, wanted = response.size(1), answered.bool()

        def states(model: Any, prompts: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self._get_last_hidden_state(
                model, torch.cat([prompts, response], dim=1), torch.cat([mask, answered], dim=1), keep
            )
            return found

        frozen, original = self._frozen, None
        if frozen is not None:
            original = self._at_temperature(projection_of(frozen, frozen.get_output_embeddings()))
        reads = self._teacher_prompts(inputs)
        with as_reference(unwrapped_student):
            teacher = states(unwrapped_student if frozen is None else frozen, *reads)[wanted]

        def divergence(project: Project, hidden: torch.Tensor) -> torch.Tensor:
            return symmetric_kl(self._at_temperature(project), hidden[wanted], teacher, CHUNK, original).sum()

        student = states(unwrapped_student, inputs["prompt_ids"], inputs["prompt_mask"])
        total: torch.Tensor = at_projection(student_of(unwrapped_student), student, divergence)
        # the second number is TRL's sum of entropies, which this objective does not log
        return total / num_items_in_batch, torch.zeros_like(total).detach(), wanted.sum()

    def _at_temperature(self, project: Project) -> Project:
        """Return a projection whose logits are those that are sampled from."""
        return lambda hidden: project(hidden) / self._objective.temperature

    def _teacher_prompts(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the teacher's prompts of a batch, whole and padded on the left, and their mask."""
        rows = [
            self._read[tuple(ids[mask.bool()].tolist())]
            for ids, mask in zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True)
        ]
        tokenizer: Any = self.processing_class
        width, pad = max(map(len, rows)), tokenizer.pad_token_id
        like = inputs["prompt_ids"]
        ids = like.new_tensor([[pad] * (width - len(row)) + row for row in rows])
        return ids, like.new_tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])


def _teacher_ids(given: Given, row: Row) -> list[int]:
    """Return the tokens of what the teacher reads: a harmful prompt in the context, a benign one as the student."""
    if row.label == "benign":
        return row.input_ids
    objective: Any = given.section.objective
    text = render_prompt(given.tokenizer, steer(row.prompt, objective.context))
    ids = list(given.tokenizer(text, add_special_tokens=False)["input_ids"])
    positions, needed = positions_of(given.model.config), len(ids) + objective.max_tokens
    if 0 < positions < needed:
        what = f"With its context and a response of method.max_tokens, the prompt {row.id!r}"
        raise too_long(what, needed, positions)
    return ids


def make(given: Given) -> SelfDistillationTrainer:
    """Return the trainer.

    Raises:
        ConfigError: the student's logits cannot be computed in chunks.
        InputError: a prompt in its context, and a response, do not fit into the student.
    """
    objective: Any = given.section.objective
    check_projection(given.model)
    arguments = DistillationConfig(
        **given.arguments, **sampling_arguments(objective, given.section.training.max_length)
    )
    arguments.report_to = []
    return SelfDistillationTrainer(given, args=arguments)
