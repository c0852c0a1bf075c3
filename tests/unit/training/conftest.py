from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import Student

from thinksafe.models.loading import resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore


@pytest.fixture
def student(student_folder: Callable[[str], Path], tmp_path: Path) -> Student:
    settings = StudentSettings(model=str(student_folder("qwen")), dtype="float32")
    base = ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)
    return Student(base, LocalStore(tmp_path / "store"))
