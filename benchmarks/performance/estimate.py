"""How long the second run of the micro recipe was estimated to take by the first, against what its stages took."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result

FACTOR = 1.5
SEEDS = (42, 43)
"""Of the first run, which measures, and of the second, which is estimated."""


def measure(_model: Path) -> Result:
    """Run the recipe twice, with another seed and a champion the second time."""
    with tempfile.TemporaryDirectory() as scratch:
        store, tracking = f"{scratch}/store", f"sqlite:///{scratch}/mlflow.db"
        _run(scratch, SEEDS[0], store, tracking)
        told = json.loads(_thinksafe("estimate", "micro", "--set", f"seed={SEEDS[1]}", "--artifacts", store, "--json"))
        folder = Path(store, "runs", _run(scratch, SEEDS[1], store, tracking))
        records = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    # the report is no part of an estimate: it runs whatever becomes of the run
    spent = sum(float(record["seconds"]) for task, record in records.items() if task != "report")
    hours = told["hours"]
    ratio = 3600 * hours["point"] / spent
    return Result(
        "estimate", "seconds that the second run of the micro recipe was estimated to take, against what its stages "
        "took (1 is best).", "s", 3600 * hours["point"], spent, ratio, target=f"within a factor of {FACTOR}",
        reached=1 / FACTOR <= ratio <= FACTOR, n=f"{len(told['tasks'])} tasks estimated",
        notes=(
            f"The range told was {3600 * hours['low']:.0f} to {3600 * hours['high']:.0f} s. Other load on the machine "
            "during one of the two runs counts as an error of the estimate."
        ),
    )


def _run(scratch: str, seed: int, store: str, tracking: str) -> str:
    """Run the recipe and return the run's id."""
    out = Path(scratch, f"seed-{seed}")
    _thinksafe(
        "run", "micro", "--out", str(out), "--set", f"seed={seed}", "--artifacts", store, "--tracking-uri", tracking
    )
    found: dict[str, Any] = json.loads((out / "run.json").read_text("utf-8"))
    return str(found["run_id"])


def _thinksafe(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("thinksafe")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):  # 3: the gate refused
        raise RuntimeError(f"exit code {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
