"""Cross-entropy of the response tokens of all rows, with TRL's SFTTrainer.

TRL uses rows with ``input_ids`` and ``labels`` unchanged. With ``max_length`` None it cuts nothing, and with a custom
collator it does not touch the tokenizer. Imports torch and TRL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from thinksafe.training import sharding
from thinksafe.training.adapters import adapter_state, write_adapter
from thinksafe.training.batches import Collator, EpochOrder, dataset
from thinksafe.training.data import Row
from thinksafe.training.logits import CHUNK, add_losses, check_projection, student_of
from thinksafe.training.objectives import Given
from thinksafe.training.weights import save_checkpoint


class SftTrainer(SFTTrainer):
    """TRL's trainer with our order of rows, and with logits in chunks if the student is sharded."""

    logged: ClassVar[tuple[str, ...]] = ("mean_token_accuracy",)
    def __init__(self, given: Given, **named: Any) -> None:
        rows, settings = given.rows, given.section.training
        super().__init__(train_dataset=dataset(rows, lambda every: self.columns(every, given)), **named)
        self._lengths = [len(row.input_ids) for row in rows]
        self._full = given.lora is None
        self._batch, self._micro = settings.batch_size, settings.micro_batch_size
        self._sharded = bool(self.is_fsdp_enabled)
        model: Any = self.model
        # TRL's own cross-entropy reads the head's weights outside its forward, where only a shard exists
        if self._own_loss:
            student = student_of(model)
            if self.is_world_process_zero() or not self._sharded:  # the others have no weights yet
                check_projection(student)
            add_losses(student, CHUNK)
        if self._sharded:
            sharding.checkpoint_layers(model)

    @classmethod
    def columns(cls, rows: list[Row], given: Given) -> dict[str, list[Any]]:  # noqa: ARG003 - for subclasses
        """Return what the loss wants to know of each row besides its tokens: numbers by name."""
        return {}

    @property
    def _own_loss(self) -> bool:
        return self._sharded

    def _send_telemetry(self) -> None:
        """Send nothing: the name of a student is private."""

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        together = self.args.per_device_train_batch_size * self.args.world_size
        steps = -(-len(self._lengths) // self._batch)
        # from the step, not from set_epoch, which accelerate's wrappers do not pass on when batches are skipped
        return EpochOrder(
            self._lengths, self._micro, together, self.args.seed, lambda: self.state.global_step // steps
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the batch's share of the loss: sums over response tokens by those of the whole effective batch."""
        if not self._own_loss:
            return super().compute_loss(  # type: ignore[no-untyped-call]
                model, inputs, return_outputs, num_items_in_batch
            )
        # num_items_in_batch counts the response tokens of all processes and accumulation steps, whose mean is taken
        return self._sum(model, inputs) / num_items_in_batch * self.accelerator.num_processes

    def _sum(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the loss summed over the response tokens of a batch."""
        inputs["benign"] = inputs["labels"].new_zeros(len(inputs["labels"]), dtype=torch.bool)
        found = model(**inputs, reference=None)
        total: torch.Tensor = found["cross_entropy"] + found["kl"]
        return total

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save what is trained, for a checkpoint, and nothing beside it."""
        if self._full and not self._sharded:
            save_checkpoint(self, output_dir)
        elif self._full:
            return  # they are written with the optimiser's state
        elif not self._sharded:
            super().save_model(output_dir, _internal_call)
        else:  # transformers would gather the whole student for it
            state = adapter_state(self.model, sharded=True)
            if self.args.should_save:
                folder = Path(output_dir or str(self.args.output_dir))
                folder.mkdir(parents=True, exist_ok=True)
                write_adapter(self.model, state, folder)


def make(given: Given, trainer: type[SftTrainer] = SftTrainer) -> SftTrainer:
    """Return the trainer."""
    arguments = SFTConfig(
        **given.arguments,
        max_length=None,
        # packed rows would attend to one another without FlashAttention (PARTS.md)
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    if given.section.training.strategy == "fsdp":
        sharding.adjust(arguments)
    # transformers adds a reporter automatically inside a Kubeflow TrainJob
    arguments.report_to = []
    tokenizer = given.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return trainer(
        given,
        model=given.model,
        args=arguments,
        data_collator=Collator(pad_token_id=pad),
        processing_class=tokenizer,
        peft_config=given.lora,
        callbacks=given.callbacks,
    )
