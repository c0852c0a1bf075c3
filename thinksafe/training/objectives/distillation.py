"""On-policy distillation with TRL's trainer: reverse KL from the teacher at each token that the student samples.

Imports torch and TRL.
"""

from __future__ import annotations

from typing import Any, ClassVar

from trl.trainer.distillation_config import DistillationConfig
from trl.trainer.distillation_trainer import DistillationTrainer as TrlTrainer

from thinksafe.errors import ConfigError, InputError
from thinksafe.models.loading import load_model, load_tokenizer
from thinksafe.models.references import ModelReference
from thinksafe.training.objectives import Given
from thinksafe.training.objectives.rollouts import Rollouts, sampling_arguments


class DistillationTrainer(Rollouts, TrlTrainer):
    """See the module. The loss is the reverse KL, in nats a response token."""

    logged: ClassVar[tuple[str, ...]] = ("entropy", "mean_length", "truncated")


def make(given: Given) -> DistillationTrainer:
    """Return the trainer.

    Raises:
        InputError: the teacher cannot be loaded, or has another vocabulary than the student.
        StageError: the teacher's files changed since the run was planned.
    """
    objective: Any = given.section.objective
    arguments = DistillationConfig(
        **given.arguments, **sampling_arguments(objective, given.section.training.max_length),
        beta=1.0,  # the reverse KL
    )
    arguments.report_to = []
    return DistillationTrainer(given, teacher_model=_teacher(given), args=arguments)


def _teacher(given: Given) -> Any:
    """Load the teacher, whose digest is checked, if it has the student's vocabulary."""
    of = given.section.teacher
    if of is None:
        raise ConfigError("The training has no teacher.", "Start the run again.")
    reference = ModelReference(role="base", student=of.student, base_digest=of.digest)
    names = f"The teacher {of.student.model!r} and the student {given.student.model!r}"
    action = "Name a teacher of the student's family, or use method.kind: teacher, which learns from its texts."
    theirs, ours = load_tokenizer(reference).get_vocab(), given.tokenizer.get_vocab()
    if theirs != ours:
        apart = len(set(theirs.items()) ^ set(ours.items()))
        raise InputError(
            f"{names} have different vocabularies ({apart:,} tokens differ), so their probabilities cannot be "
            "compared.",
            action,
        )
    teacher = load_model(reference, given.store)
    sizes = [model.config.get_text_config().vocab_size for model in (teacher, given.model)]
    if sizes[0] != sizes[1]:
        raise InputError(f"{names} score {sizes[0]:,} and {sizes[1]:,} tokens.", action)
    return teacher.requires_grad_(False)
