"""Memory of training with forward KL on benign rows: ``benchmarks/kl_memory.py``, run unchanged."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.performance.result import Result, SkippedError

COMMAND = "benchmarks.kl_memory"


def measure(_model: Path) -> Result:
    """Run it in its own process; it prints one JSON document."""
    if importlib.util.find_spec(COMMAND) is None:
        raise SkippedError("there is no benchmarks/kl_memory.py yet")
    done = subprocess.run([sys.executable, "-m", COMMAND], capture_output=True, text=True, check=False, timeout=1200)
    if not done.stdout:
        raise RuntimeError(f"{COMMAND} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    ours, reference = found["kl"]["peak_mib"], found["ce"]["peak_mib"]
    return Result(
        "kl", "peak memory of training with forward KL on benign rows, against cross-entropy on all rows (lower is "
        "better).", "MiB", ours, reference, found["ratio"], target=f"≤ {found['target']}", reached=found["met"],
        n=f"{found['tokens']} tokens per pass, vocabulary of {found['vocabulary']:,}",
        notes=f"Without the weights, which are in both: {found['ratio_above_weights']}. Against cross-entropy computed "
        f"in the same chunks, as TRL's buffers are large on CPUs: {found['ratio_to_chunked_ce']}. One run per side, "
        "each in its own process.",
    )
