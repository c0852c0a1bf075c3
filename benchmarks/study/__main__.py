"""``python -m benchmarks.study``: build the students, compare the methods on each, write the page.

As many comparisons run at once as there are cores, each on one core: their trainings take one core each. Killed and
started again with the same folder it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.study import page
from benchmarks.study.results import Study
from benchmarks.study.settings import Settings, compared
from thinksafe.jsonl import read_record
from thinksafe.report.comparison.model import ComparisonResult

ROOT = Path(__file__).parents[2]
THINKSAFE = str(Path(sys.executable).with_name("thinksafe"))
ONE_CORE = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
ENDED = (0, 3)
"""Exit codes of a comparison with a result: some method passes the gate, or none does."""


def main() -> int:
    """Run what is missing and write the page; return 1 if something could not be done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "study", help="folder of the study")
    parser.add_argument("--students", type=int, default=Settings.students)
    parser.add_argument("--seeds", type=int, default=Settings.seeds)
    parser.add_argument("--page", type=Path, help="page to write; study.md in the folder by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="comparisons at once; one a core")
    given = parser.parse_args()
    settings, started = Settings(given.students, given.seeds), time.monotonic()
    out: Path = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    recipe = out / "recipe.yaml"
    recipe.write_text(json.dumps(compared()), "utf-8")
    with ThreadPoolExecutor(given.jobs) as pool:
        models = dict(enumerate(pool.map(lambda number: _student(out, number), range(1, settings.students + 1)), 1))
        made = pool.map(lambda cell: _compared(out, recipe, models[cell[0]], *cell), settings.cells)
        cells = dict(zip(settings.cells, made, strict=True))
    measured = {cell: result for cell, result in cells.items() if result is not None}
    if len(measured) < len(cells):
        return 1
    target = given.page or out / "study.md"
    page.write(Study(measured), settings, target)
    print(f"wrote {target} after {(time.monotonic() - started) / 60:.0f} min")
    return 0


def _student(out: Path, number: int) -> str:
    """Return a student, which is built if it is not there; the first one ships."""
    if number == 1:
        return "micro://default"
    folder = out / "students" / str(number)
    if not (folder / "student.json").is_file():
        print(f"building student {number}", flush=True)
        options = ["--seed", str(number), "--out", str(folder)]
        command = [sys.executable, "-m", "thinksafe.micro.build", "default", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env={**os.environ, **ONE_CORE})
    return str(folder)


def _compared(out: Path, recipe: Path, model: str, student: int, seed: int) -> ComparisonResult | None:
    """Return the result of a comparison, which is run or goes on; None if it failed."""
    folder = out / f"student-{student}-seed-{seed}"
    print(f"{folder.name}: started", flush=True)
    command = [THINKSAFE, "compare", str(recipe), "--out", str(folder)]
    for change in (f"student.model={model}", f"seed={seed}", "sampling.parallelism=1", "evaluation.parallelism=1"):
        command += ["--set", change]
    with (out / f"{folder.name}.log").open("ab") as log:
        done = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, check=False, env={**os.environ, **ONE_CORE}
        )
    if done.returncode not in ENDED:
        print(f"error: {folder.name} ended with {done.returncode}.\n  Read {folder}.log.", file=sys.stderr)
        return None
    print(f"{folder.name}: done", flush=True)
    return read_record(folder / "comparison.json", ComparisonResult)


if __name__ == "__main__":
    sys.exit(main())
