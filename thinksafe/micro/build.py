"""Build a student: `python -m thinksafe.micro.build {default,no-latent-safety,teacher} --out DIR [--seed N]`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from thinksafe.jsonl import write_atomic
from thinksafe.micro import curriculum
from thinksafe.micro.measure import MAX_NEW_TOKENS, student_metrics
from thinksafe.micro.network import BATCH_SIZE, new_network, train
from thinksafe.micro.tokenizer import build_tokenizer

__all__ = ["build_student", "main"]

DEFAULT_SEED = 1
VALIDATION_PROMPTS = 400
VALIDATION_PROBLEMS = 1000


def _print_progress(phase: str, started: float) -> Any:
    def progress(step: int, steps: int, loss: float) -> None:
        if step % 100 == 0 or step == steps:
            print(
                f"{phase}: step {step}/{steps}, loss {loss:.3f}, {time.monotonic() - started:.0f} s",
                flush=True,
            )

    return progress


def build_student(student: curriculum.StudentName, out: Path, seed: int = DEFAULT_SEED) -> dict[str, Any]:
    """Train `student` from `seed`, write it to the folder `out` and return the contents of `student.json`.

    `out` gets the model (float32 safetensors), its configs, the tokenizer and `student.json`: settings, seed and
    metrics on the validation split. Runs on one thread, so that the same machine gives the same student.

    Raises:
        FileExistsError: when `out` is a file.
    """
    import torch

    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is not a folder")
    torch.set_num_threads(1)
    started = time.monotonic()
    tokenizer = build_tokenizer()
    model = new_network(tokenizer, seed)
    for place, phase in enumerate(curriculum.CURRICULA[student]):
        rows = curriculum.rows(student, phase, phase.steps * BATCH_SIZE, seed)
        train(model, tokenizer, rows, phase.learning_rate, seed + place, _print_progress(phase.name, started))
    print("measuring on validation", flush=True)
    metrics = student_metrics(model, tokenizer, "validation", VALIDATION_PROMPTS, VALIDATION_PROBLEMS, seed=0)
    document = {
        "student": student,
        "seed": seed,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "batch_size": BATCH_SIZE,
        "phases": [asdict(phase) for phase in curriculum.CURRICULA[student]],
        "easy_comply": curriculum.EASY_COMPLY,
        "hard_comply": curriculum.HARD_COMPLY,
        "eager_twins": curriculum.EAGER_TWINS,
        "large_practice": curriculum.LARGE_PRACTICE,
        "sampling": {"temperature": 0.6, "top_p": 0.95, "top_k": 0, "max_tokens": MAX_NEW_TOKENS},
        "validation": metrics,
    }
    _write(model, tokenizer, document, out)
    print(json.dumps(metrics, indent=2))
    print(f"built {student} in {time.monotonic() - started:.0f} s", flush=True)
    return document


def _write(model: Any, tokenizer: Any, document: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.95, max_new_tokens=MAX_NEW_TOKENS)
    model.save_pretrained(out)
    # By default only the owner can read it, which does not suit an installed package.
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(out)
    write_atomic(out / "student.json", (json.dumps(document, indent=2) + "\n").encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m thinksafe.micro.build", description="Build a micro student."
    )
    parser.add_argument("student", choices=get_args(curriculum.StudentName))
    parser.add_argument("--out", type=Path, required=True, help="folder to write the student to")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    options = parser.parse_args(arguments)
    build_student(options.student, options.out, options.seed)


if __name__ == "__main__":
    main()
