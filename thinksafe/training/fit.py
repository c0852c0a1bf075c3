"""Encoded rows to an adapter, with any objective: everything around the trainer.

The trainer comes from :mod:`thinksafe.training.objectives`. The only output is the adapter's two files. The same code
runs in a single process and in each of several (:mod:`thinksafe.training.launch`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TrainSection
from thinksafe.config.shape import shape_of
from thinksafe.errors import ConfigError, StageError
from thinksafe.methods.objectives import OnPolicy
from thinksafe.run.record import StageContext
from thinksafe.settings import StudentSettings
from thinksafe.training import sharding
from thinksafe.training.adapters import adapter_state, write_adapter
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.data import Row
from thinksafe.training.drift import Drift, chosen_rows, measure_drift
from thinksafe.training.logits import CHUNK
from thinksafe.training.objectives import Given, make_trainer

if TYPE_CHECKING:
    from transformers import TrainerCallback

CURVE_POINTS = 200
"""Most points of a loss curve; each is the mean over the steps since the last one."""

_LOGGED = ("loss", "learning_rate", "grad_norm")
"""Logged by every objective; each objective names its additional ones."""


@dataclass(frozen=True)
class Training:
    """Results of a training run."""

    steps: int
    curve: list[dict[str, float]]
    """``step`` (from 1), ``loss`` (nats a response token), ``learning_rate``, ``grad_norm`` (before clipping); with
    cross-entropy on all rows ``mean_token_accuracy``; with the KL ``cross_entropy`` (nats a response token of harmful
    rows) and ``kl`` (of benign ones); where training samples, what :mod:`thinksafe.training.objectives.rollouts` names.
    At most ``CURVE_POINTS`` rows."""
    resumed: int = 0
    """Steps already in the checkpoint."""
    drift: tuple[Drift, ...] = ()
    """How far training moved the student; in the first process only."""
    share: float = 1.0
    """Part of the parameters that the first process held while training."""
    responses: int = 0
    """Responses that training sampled, those before a checkpoint included."""
    response_tokens: int = 0


def warmup_steps(steps: int, settings: TrainingSettings) -> int:
    """Return the optimiser steps of the warm-up. The first one is at rate 0, so at least the last step is not of it."""
    return min(math.ceil(settings.warmup_ratio * steps), max(steps - 1, 0))


def step_count(rows: int, section: TrainSection) -> int:
    """Return the optimiser steps of a training run; an epoch's last batch may be smaller.

    Where training samples, a batch is of responses, ``rollouts`` to each row.
    """
    each = section.objective.rollouts if isinstance(section.objective, OnPolicy) else 1
    return math.ceil(rows * each / section.training.batch_size) * section.training.epochs


def train_adapter(
    context: StageContext, model: Any, tokenizer: Any, rows: list[Row], section: TrainSection,
    student: StudentSettings, folder: Path, checkpoints: Checkpoints | None = None,
) -> Training:
    """Train a LoRA adapter on a loaded student and write its two files (``ADAPTER_FILES``) into ``folder``.

    On CPUs the same rows, section, number of processes and number of threads give the same bytes, whether or not the
    training was resumed. The adapter is added to ``model``. All processes must call it; the first one writes.

    Args:
        context: For the progress bar.
        model: The student, without an adapter (:func:`thinksafe.models.loading.load_model`).
        tokenizer: The served tokenizer; not changed, not saved.
        rows: Encoded examples.
        section: Settings and seed.
        student: Base for ``adapter_config.json``: ``model`` and ``revision``, never a resolved path.
        folder: Empty folder.
        checkpoints: Where to resume from and where to write them; none by default.

    Raises:
        ConfigError: ``training.target_modules`` names a module that the student does not have, or the student's
            logits cannot be computed in chunks, and the objective needs that.
        StageError: memory ran out, or the training diverged.
    """
    import torch

    _check_targets(model, section.training.target_modules)
    steps, threads = step_count(len(rows), section), torch.get_num_threads()
    drift: list[Drift] = []
    if section.training.threads:
        torch.set_num_threads(section.training.threads)
    restored = checkpoints.restored if checkpoints else None
    try:
        with context.track("training", steps) as advance:
            callbacks = [_watch(advance), *([checkpoints.callback()] if checkpoints else [])]
            trainer = _trainer(context, model, tokenizer, rows, section, student, folder, checkpoints, callbacks)
            trainer.train(resume_from_checkpoint=str(restored) if restored else None)
        held = sharding.share(trainer.model)
        trained = [sharding.whole(weight) for weight in trainer.model.parameters() if weight.requires_grad]
        if not all(bool(torch.isfinite(weight).all()) for weight in trained):
            raise StageError(
                "The training diverged: the adapter has weights that are not finite.",
                "Lower training.learning_rate.",
            )
        sharded = section.training.strategy == "fsdp"
        if trainer.is_world_process_zero() or sharded:
            state = adapter_state(trainer.model, sharded)
        if trainer.is_world_process_zero():
            write_adapter(trainer.model, state, folder)
        if trainer.is_world_process_zero() or sharded:
            read = _read(trainer.model, tokenizer, rows, section)
            with context.track("drift", len(read)) as advance:
                drift = measure_drift(trainer.model, read, CHUNK, advance)
        trainer.accelerator.wait_for_everyone()  # no process leaves the group while the first one measures
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        raise StageError(
            "Training ran out of memory.",
            "Lower training.micro_batch_size or training.max_length, or use a larger GPU.",
        ) from error
    finally:
        torch.set_num_threads(threads)
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    names = ("step", *_LOGGED, *trainer.logged)
    # None: there was nothing to take a mean of
    curve = [{name: float(entry[name]) for name in names if entry.get(name) is not None} for entry in history]
    sampled = trainer.totals() if isinstance(section.objective, OnPolicy) else {}
    return Training(
        steps, curve, checkpoints.step if checkpoints else 0, tuple(drift), held,
        responses=sampled.get("responses", 0), response_tokens=sampled.get("response_tokens", 0),
    )


def _read(model: Any, tokenizer: Any, rows: list[Row], section: TrainSection) -> list[Row]:
    """Return the rows that drift is measured on: examples or, where these are prompts, responses of the student."""
    if not isinstance(section.objective, OnPolicy):
        return chosen_rows(rows, section.seed)
    from thinksafe.training.replies import replies

    return replies(model, tokenizer, rows, section.seed, section.objective.max_tokens)


def _check_targets(model: Any, targets: tuple[str, ...]) -> None:
    """Check that every target names a linear layer; PEFT accepts names without a match as long as one has some."""
    import torch

    linear = {name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    # TRL computes the loss from the head's own weights, so an adapter there would never be trained
    linear.discard("lm_head")
    if missing := [target for target in targets if target not in linear]:
        raise ConfigError(
            f"training.target_modules: the student has no linear layer {', '.join(missing)}.",
            f"Choose from {', '.join(sorted(linear))}.",
        )


def _trainer(
    context: StageContext, model: Any, tokenizer: Any, rows: list[Row], section: TrainSection,
    student: StudentSettings, folder: Path, checkpoints: Checkpoints | None, callbacks: list[TrainerCallback],
) -> Any:
    import torch
    from peft import LoraConfig
    from transformers import PrinterCallback

    settings, steps = section.training, step_count(len(rows), section)
    gpu, logging = torch.cuda.is_available(), math.ceil(steps / CURVE_POINTS)
    sharded = settings.strategy == "fsdp"
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    shape = shape_of(settings.model_copy(update={"nodes": 1, "processes": world}))
    arguments: dict[str, Any] = dict(
        output_dir=str(checkpoints.folder if checkpoints else folder),
        per_device_train_batch_size=shape.micro,
        gradient_accumulation_steps=shape.accumulation,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=warmup_steps(steps, settings),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        remove_unused_columns=False,
        bf16=model.dtype == torch.bfloat16,
        use_cpu=not gpu,
        gradient_checkpointing=gpu and not sharded,
        dataloader_pin_memory=gpu,
        ddp_find_unused_parameters=False,
        seed=section.seed,
        logging_steps=logging,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        save_strategy="steps" if checkpoints else "no",
        # only right after a point of the curve, because the sums for the next one are not saved
        save_steps=max(1, math.ceil(settings.checkpoint_steps / logging)) * logging,
        save_total_limit=1,
        **(sharding.arguments() if sharded else {}),
    )
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.target_modules),
    )
    given = Given(model, student, context.store, tokenizer, rows, section, lora, arguments, callbacks)
    trainer = make_trainer(given)
    trainer.remove_callback(PrinterCallback)
    config = trainer.model.peft_config["default"]
    config.base_model_name_or_path, config.revision = student.model, student.revision or None
    return trainer


def _watch(advance: Any) -> TrainerCallback:
    """Return a callback that reports progress and stops a training whose loss is not finite."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_train_begin(self, *given: Any, **_: Any) -> None:
            advance(given[1].global_step)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            advance(1)

        def on_log(self, *given: Any, **named: Any) -> None:
            if not math.isfinite(named["logs"].get("loss", 0.0)):
                raise StageError(
                    f"The training diverged: the loss at step {given[1].global_step} is not finite.",
                    "Lower training.learning_rate.",
                )

    return Watch()
