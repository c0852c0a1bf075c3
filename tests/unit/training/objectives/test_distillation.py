"""On-policy distillation: its teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rollout_runs import DISTILLATION, fit, micro, micro_student, section

from thinksafe.config.sections import TeacherSection, TrainSection
from thinksafe.errors import InputError, StageError
from thinksafe.models.loading import resolve_student
from thinksafe.settings import StudentSettings

pytestmark = pytest.mark.slow  # the import of TRL alone


def with_teacher(settings: StudentSettings, digest: str, **changes: Any) -> TrainSection:
    teacher = TeacherSection(student=settings, digest=digest)
    return section(DISTILLATION, **changes).model_copy(update={"teacher": teacher})


def test_the_loss_is_the_kl_from_the_teacher(tmp_path: Path) -> None:
    itself = micro("default")
    same = fit(micro_student(tmp_path), tmp_path / "same", with_teacher(itself.student, itself.base_digest))
    assert [point["loss"] for point in same.curve] == pytest.approx([0.0] * len(same.curve), abs=1e-6)


def test_a_teacher_with_the_students_words_is_approached(tmp_path: Path) -> None:
    other = micro("no-latent-safety")
    done = fit(micro_student(tmp_path), tmp_path / "out", with_teacher(other.student, other.base_digest, epochs=12))
    losses = [point["loss"] for point in done.curve]
    assert losses[0] > 0.1
    assert sum(losses[-3:]) < sum(losses[:3]) / 2


def test_a_teacher_of_another_vocabulary_is_refused_before_training(
    tmp_path: Path, student_folder: Callable[[str], Path]
) -> None:
    settings = StudentSettings(model=str(student_folder("qwen")), dtype="float32")
    given = with_teacher(settings, resolve_student(settings).digest)
    with pytest.raises(InputError, match="different vocabularies") as caught:
        fit(micro_student(tmp_path), tmp_path / "out", given)
    assert "method.kind: teacher" in caught.value.action


def test_a_teacher_that_changed_is_refused(tmp_path: Path) -> None:
    given = with_teacher(micro("teacher").student, "0" * 64)
    with pytest.raises(StageError, match="digest differs"):
        fit(micro_student(tmp_path), tmp_path / "out", given)
