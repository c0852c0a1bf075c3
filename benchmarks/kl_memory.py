"""Peak memory of training with forward KL on benign rows, compared with plain LoRA SFT on the same rows.

Each run trains a student with random weights and a vocabulary of Qwen3's size in its own process, with half of the rows
benign. Plain SFT is ``sft``, TRL's loss. TRL's buffers for it are large on CPUs, so there is a second reference: the KL
trainer without benign rows, which computes cross-entropy in chunks. On CPUs the peak is that of resident memory above
the process's memory before the student was loaded, on a GPU that of PyTorch's allocator. Prints one JSON document; the
exit code is 1 if the target is missed.

    python -m benchmarks.kl_memory
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from thinksafe.methods.objectives import Kl, Sft

TARGET = 1.15
RUNS: dict[str, tuple[Sft | Kl, int]] = {"ce": (Sft(), 2), "kl": (Kl(), 2), "chunked_ce": (Kl(), 0)}
"""Objective, and how many of four rows are benign."""
VOCABULARY, TOKENS, ROWS, STEPS = 151_936, 256, 4, 1
"""Size of the vocabulary; tokens per row, rows per forward pass, and optimiser steps of the training."""


def main() -> int:
    """Measure both and print the comparison."""
    parser = argparse.ArgumentParser(prog="benchmarks.kl_memory", description=__doc__)
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    run = parser.parse_args().run
    if run:
        sys.stdout.write(json.dumps(peak(*RUNS[run])) + "\n")
        return 0
    found = {run: in_process(run) for run in RUNS}
    peaks = {run: of["peak_mib"] for run, of in found.items()}
    weights, ratio = found["kl"]["weights_mib"], peaks["kl"] / peaks["ce"]
    result = {
        "benchmark": "kl_memory", "unit": "MiB", "ratio": round(ratio, 3), "target": TARGET, "met": ratio <= TARGET,
        "ratio_above_weights": round((peaks["kl"] - weights) / (peaks["ce"] - weights), 3),
        "ratio_to_chunked_ce": round(peaks["kl"] / peaks["chunked_ce"], 3), **found,
        "vocabulary": VOCABULARY, "tokens": TOKENS * ROWS,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0 if result["met"] else 1


def in_process(run: str) -> dict[str, Any]:
    """Measure one run in a fresh process."""
    # freed blocks go back to the system at once, so that resident memory equals used memory
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "benchmarks.kl_memory", "--run", run]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak(objective: Sft | Kl, benign: int) -> dict[str, Any]:
    """Train for a few steps and return peak and weights in MiB, and the settings that matter."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from thinksafe.config.model import TrainingSettings
    from thinksafe.config.sections import TrainSection
    from thinksafe.micro.students import student_path
    from thinksafe.models.loading import load_tokenizer
    from thinksafe.models.references import ModelReference
    from thinksafe.records import Label
    from thinksafe.run.record import StageContext, silent
    from thinksafe.settings import StudentSettings
    from thinksafe.store import open_store
    from thinksafe.training import trainer as _loaded  # noqa: F401 - before the baseline
    from thinksafe.training.data import IGNORED, Row
    from thinksafe.training.fit import train_student
    from thinksafe.training.logits import CHUNK

    gpu = torch.cuda.is_available()
    tokenizer = load_tokenizer(
        ModelReference(role="base", student=StudentSettings(model=str(student_path("default"))), base_digest="-")
    )
    rows = []
    for place in range(ROWS * STEPS):
        ids = [(7919 * place + 31 * at) % VOCABULARY for at in range(TOKENS)]
        label: Label = "benign" if place % 4 < benign else "harmful"
        rows.append(Row(str(place), ids, [IGNORED] * 16 + ids[16:], label))
    training = TrainingSettings.model_validate(
        {"batch_size": ROWS, "micro_batch_size": ROWS, "epochs": 1, "processes": 1}
    )
    section = TrainSection(seed=1, training=training, objective=objective, reasoning="none")
    with Peak(gpu) as watch:
        config = Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=4,
            num_key_value_heads=2, head_dim=64, tie_word_embeddings=True, max_position_embeddings=4096,
            dtype="bfloat16" if gpu else "float32",
        )
        model = Qwen3ForCausalLM(config).to("cuda" if gpu else "cpu")
        weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as root:
            context = StageContext(open_store(root), "bench", "train", "train", silent)
            student = StudentSettings(model="benchmark", dtype="bfloat16" if gpu else "float32", reasoning="none")
            train_student(context, model, tokenizer, rows, section, student, Path(folder))
    return {
        "peak_mib": round(watch.bytes / 2**20), "weights_mib": round(weights / 2**20), "kl_chunk": CHUNK,
        "measured": "GPU allocator" if gpu else "resident memory",
    }


class Peak:
    """The highest memory use while it is open, in ``bytes``."""

    def __init__(self, gpu: bool) -> None:
        self._gpu, self.bytes = gpu, 0
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        if self._gpu:
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            self._before = _resident()
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._gpu:
            import torch

            self.bytes = torch.cuda.max_memory_allocated()
        else:
            self._open.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._open.is_set():
            self.bytes = max(self.bytes, _resident() - self._before)
            time.sleep(0.001)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    raise SystemExit(main())
