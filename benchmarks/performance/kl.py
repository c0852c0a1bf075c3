"""Memory of training with forward KL on benign rows: ``benchmarks/kl_memory.py``, run as it is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from benchmarks.performance.result import Result, SkippedError

COMMAND = "benchmarks.kl_memory"


def measure(_model: Path) -> Result:
    """Run it; its last line is the result, its exit code whether the target was reached."""
    if importlib.util.find_spec(COMMAND) is None:
        raise SkippedError("there is no benchmarks/kl_memory.py yet")
    done = subprocess.run([sys.executable, "-m", COMMAND], capture_output=True, text=True, check=False, timeout=1200)
    lines = done.stdout.strip().splitlines()
    if not lines:
        raise RuntimeError(f"{COMMAND} printed nothing and ended with {done.returncode}")
    return Result(
        "kl", "peak memory of SFT with KL against plain LoRA SFT (lower is better).", target="≤ 1.15",
        reached=done.returncode == 0, notes=lines[-1],
    )
