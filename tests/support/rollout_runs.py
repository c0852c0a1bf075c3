"""A student of the micro world that is trained on prompts, to which training samples the responses itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from training_runs import Student

from thinksafe.config.guard import GuardSettings
from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TeacherSection, TrainSection
from thinksafe.methods.objectives import Distillation, Grpo, OnPolicy
from thinksafe.methods.self_distillation import SelfDistillation
from thinksafe.micro.world import prompts
from thinksafe.models.loading import end_tokens, resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.records import Example
from thinksafe.run.record import Progress, StageContext, silent
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.data import Row, encode_examples
from thinksafe.training.fit import Training, _trainer, train_student

GRPO = Grpo(rollouts=4, max_tokens=32, beta=0.04, epsilon=0.2, compliance=True, max_unknown=0.5)
DISTILLATION = Distillation(max_tokens=32)
SELF_DISTILLATION = SelfDistillation(max_tokens=32, context="risk").minimises()


def micro(name: str) -> ModelReference:
    """Return the reference of a student of the micro world."""
    settings = StudentSettings(model=f"micro://{name}", dtype="float32")
    return ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)


def micro_student(folder: Path) -> Student:
    return Student(micro("default"), LocalStore(folder / "store"))


def section(objective: OnPolicy = GRPO, **changes: Any) -> TrainSection:
    """Return the section of a training of two epochs of three steps (:func:`examples`), which moves the student."""
    settings: dict[str, Any] = {
        "lora_rank": 4, "lora_dropout": 0.5, "learning_rate": 2e-3, "batch_size": 8, "micro_batch_size": 4, "epochs": 2,
        "threads": 1, "max_length": 128,
    }
    teacher = micro("teacher")
    return TrainSection(
        seed=3, reasoning="think", objective=objective, training=TrainingSettings(**settings | changes),
        guard=GuardSettings(kind="micro-exact") if isinstance(objective, Grpo) else None,
        teacher=TeacherSection(student=teacher.student, digest=teacher.base_digest)
        if isinstance(objective, Distillation) else None,
    )


def examples(each: int = 3) -> list[Example]:
    """Return prompts as examples, ``each`` harmful and benign ones."""
    found = [of for kind in ("harmful", "benign") for of in prompts("train", kind, each, seed=1)]
    return [Example(id=f"{of.id}/rollout/0", prompt=of.prompt, response="", label=of.label) for of in found]


def rows(student: Student, each: int = 3) -> list[Row]:
    model, tokenizer = student.load()
    return encode_examples(tokenizer, examples(each), end_tokens(model, tokenizer, "the student"), 128, room=32).rows


def trainer(folder: Path, objective: OnPolicy, **changes: Any) -> Any:
    """Return a trainer as :mod:`thinksafe.training.fit` makes it."""
    student, given = micro_student(folder), section(objective, **changes)
    model, tokenizer = student.load()
    context = StageContext(student.store, "run", "train", "train", silent)
    of = student.base.student
    return _trainer(context, model, tokenizer, rows(student), given, of, model.dtype, folder / "out", None, [])


class Stopped(Exception):
    """Stands for a kill."""


def fit(student: Student, folder: Path, given: TrainSection, *, stop: int = 0, key: str = "") -> Training:
    """Train, with checkpoints below ``key`` if there is one, from the newest of them.

    Args:
        student: The student.
        folder: Folder for the adapter; made here.
        given: The section.
        stop: Step at which the training is stopped; 0 for none.
        key: Key of the adapter.

    Raises:
        Stopped: it was.
    """
    folder.mkdir()
    done = [0]

    class Stopping(Progress):
        def __enter__(self) -> Callable[[int], None]:
            return self.advance

        def advance(self, steps: int) -> None:
            done[0] += steps
            if stop and done[0] >= stop:
                raise Stopped

    context = StageContext(student.store, "run", "train", "train", (lambda *_: Stopping()) if stop else silent)
    kept = Checkpoints(student.store, key, folder / "checkpoints") if key else None
    if kept is not None:
        kept.restore()
    model, tokenizer = student.load()
    return train_student(context, model, tokenizer, rows(student), given, student.base.student, folder, kept)
