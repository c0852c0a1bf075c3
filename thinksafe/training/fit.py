"""Encoded rows to a trained student, with any objective: everything around the trainer.

The trainer comes from :mod:`thinksafe.training.objectives`. The only output are the files of an adapter
(:mod:`thinksafe.training.adapters`) or of all weights (:mod:`thinksafe.training.weights`). The same code runs in a
single process and in each of several (:mod:`thinksafe.training.launch`).
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
from thinksafe.models.loading import placement
from thinksafe.run.record import StageContext
from thinksafe.settings import StudentSettings
from thinksafe.training import sharding
from thinksafe.training.adapters import adapter_state, write_adapter
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.data import Row
from thinksafe.training.drift import Drift, measure_drift
from thinksafe.training.logits import CHUNK
from thinksafe.training.objectives import Given, make_trainer
from thinksafe.training.original import Original, computing, drift_rows
from thinksafe.training.weights import check_trainable, marks_of, round_weights, weights_state, write_weights

if TYPE_CHECKING:
    import torch
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
    changed: tuple[int, int] | None = None
    """How many tensors differ from the student's, as they are written, and how many there are; in the first process,
    if all weights were trained. An adapter's file tells by itself."""


def warmup_steps(steps: int, settings: TrainingSettings) -> int:
    """Return the optimiser steps of the warm-up. The first one is at rate 0, so at least the last step is not of it."""
    return min(math.ceil(settings.warmup_ratio * steps), max(steps - 1, 0))


def step_count(rows: int, section: TrainSection) -> int:
    """Return the optimiser steps of a training run; an epoch's last batch may be smaller.

    Where training samples, a batch is of responses, ``rollouts`` to each row.
    """
    each = section.objective.rollouts if isinstance(section.objective, OnPolicy) else 1
    return math.ceil(rows * each / section.training.batch_size) * section.training.epochs


def train_student(
    context: StageContext, model: Any, tokenizer: Any, rows: list[Row], section: TrainSection,
    student: StudentSettings, folder: Path, checkpoints: Checkpoints | None = None,
) -> Training:
    """Train an adapter on a loaded student, or all its weights, and write the files into ``folder``.

    On CPUs the same rows, section, number of processes and number of threads give the same bytes, whether or not the
    training was resumed. ``model`` is changed. All processes must call it; the first one writes.

    Args:
        context: For the progress bar.
        model: The student, without an adapter (:func:`thinksafe.models.loading.load_model`), in float32 if all weights
            are trained.
        tokenizer: The served tokenizer; not changed, not saved.
        rows: Encoded examples.
        section: Settings and seed.
        student: Its settings; the base in ``adapter_config.json`` is ``model`` and ``revision``, never a resolved path.
        folder: Empty folder.
        checkpoints: Where to resume from and where to write them; none by default.

    Raises:
        ConfigError: ``training.target_modules`` names a module that the student does not have; all weights are to be
            trained, and the student is quantised; or its logits cannot be computed in chunks, and the objective needs
            that.
        StageError: memory ran out, or the training diverged.
    """
    import torch

    full, sharded = section.training.parameters == "full", section.training.strategy == "fsdp"
    if full:
        check_trainable(model)
    else:
        _check_targets(model, section.training.target_modules)
    dtype = placement(student)[1]
    first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    marks = marks_of(weights_state(model, sharded=False, dtype=dtype)) if full and first else {}
    steps, threads = step_count(len(rows), section), torch.get_num_threads()
    drift: list[Drift] = []
    original = Original(dtype)
    if section.training.threads:
        torch.set_num_threads(section.training.threads)
    restored = checkpoints.restored if checkpoints else None
    try:
        if full and (first or sharded):
            with computing(dtype, full):
                original.rows = drift_rows(model, tokenizer, rows, section)
        if full and first and not sharded:
            with context.track("drift of the student", len(original.rows)) as advance:
                original.note(model, advance)
        with context.track("training", steps) as advance:
            callbacks = [_watch(advance), *([checkpoints.callback()] if checkpoints else [])]
            trainer = _trainer(
                context, model, tokenizer, rows, section, student, dtype, folder, checkpoints, callbacks
            )
            if full and sharded:
                original.note_when_sharded(trainer)
            trainer.train(resume_from_checkpoint=str(restored) if restored else None)
        held = sharding.share(trainer.model)
        trained = (weight for weight in trainer.model.parameters() if weight.requires_grad)
        # one at a time: all weights together may fit no single process
        if not all(bool(torch.isfinite(sharding.whole(weight)).all()) for weight in trained):
            raise StageError(
                "The training diverged: there are weights that are not finite.", "Lower training.learning_rate."
            )
        changed = None
        if full:
            round_weights(trainer.model, dtype)
        if first or sharded:
            state = (
                weights_state(trainer.model, sharded, dtype) if full else adapter_state(trainer.model, sharded)
            )
        if first and full:
            state = {name: state[name] for name in marks}  # without what an objective added
            changed = (sum(mark != marks[name] for name, mark in marks_of(state).items()), len(marks))
            write_weights(trainer.model, state, student, folder)
        elif first:
            write_adapter(trainer.model, state, folder)
        if first or sharded:
            if not full:
                original.rows = drift_rows(trainer.model, tokenizer, rows, section)
            with context.track("drift", len(original.rows)) as advance, computing(dtype, full):
                drift = measure_drift(trainer.model, original.rows, CHUNK, advance, original.noted)
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
        responses=sampled.get("responses", 0), response_tokens=sampled.get("response_tokens", 0), changed=changed,
    )


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
    student: StudentSettings, dtype: torch.dtype, folder: Path, checkpoints: Checkpoints | None,
    callbacks: list[TrainerCallback],
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
        bf16=dtype == torch.bfloat16,
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
    lora = None
    if settings.parameters == "lora":
        lora = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules=list(settings.target_modules),
        )
    given = Given(model, student, context.store, tokenizer, rows, section, lora, dtype, arguments, callbacks)
    trainer = make_trainer(given)
    trainer.remove_callback(PrinterCallback)
    if lora is not None:
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
