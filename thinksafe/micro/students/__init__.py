"""The built students, shipped as ordinary model folders."""

from __future__ import annotations

from pathlib import Path

__all__ = ["STUDENTS", "student_path"]

STUDENTS = ("default", "no-latent-safety", "teacher")


def student_path(name: str) -> Path:
    """Return the folder of the shipped student `name`, loadable with `AutoModelForCausalLM` and `AutoTokenizer`.

    Raises:
        ValueError: the name is not in `STUDENTS`.
        FileNotFoundError: when the installation lacks the student's weights.
    """
    if name not in STUDENTS:
        raise ValueError(f"unknown student {name!r}: expected one of {', '.join(STUDENTS)}")
    folder = Path(__file__).resolve().parent / name
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"student {name!r} is not installed; build it with python -m thinksafe.micro.build"
        )
    return folder
