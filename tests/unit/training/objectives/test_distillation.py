"""On-policy distillation: its teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rollout_runs import DISTILLATION, fit, micro, micro_student, section

from thinksafe.config.sections import TeacherSection
from thinksafe.errors import InputError, StageError
from thinksafe.models.loading import resolve_student
from thinksafe.settings import StudentSettings

pytestmark = pytest.mark.slow  # the import of TRL alone


def with_teacher(settings: StudentSettings, digest: str) -> object:
    return section(DISTILLATION).model_copy(update={"teacher": TeacherSection(student=settings, digest=digest)})


def test_the_loss_is_the_kl_from_the_teacher(tmp_path: Path) -> None:
    itself = micro("default")
    same = fit(micro_student(tmp_path), tmp_path / "same", with_teacher(itself.student, itself.base_digest))  # type: ignore[arg-type]
    assert [point["loss"] for point in same.curve] == pytest.approx([0.0] * len(same.curve), abs=1e-6)
    other = fit(micro_student(tmp_path), tmp_path / "other", section(DISTILLATION))
    assert all(point["loss"] > 1e-3 for point in other.curve)


def test_a_teacher_of_another_vocabulary_is_refused_before_training(
    tmp_path: Path, student_folder: Callable[[str], Path]
) -> None:
    settings = StudentSettings(model=str(student_folder("qwen")), dtype="float32")
    given = with_teacher(settings, resolve_student(settings).digest)
    with pytest.raises(InputError, match="different vocabularies") as caught:
        fit(micro_student(tmp_path), tmp_path / "out", given)  # type: ignore[arg-type]
    assert "method.kind: teacher" in caught.value.action


def test_a_teacher_that_changed_is_refused(tmp_path: Path) -> None:
    given = with_teacher(micro("teacher").student, "0" * 64)
    with pytest.raises(StageError, match="digest differs"):
        fit(micro_student(tmp_path), tmp_path / "out", given)  # type: ignore[arg-type]
