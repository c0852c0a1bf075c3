"""``python -m benchmarks.study``: build the students, compare the methods on each, write the page.

Killed and started again with the same folder it goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.study import page
from benchmarks.study.results import Study
from benchmarks.study.settings import RECIPE, Settings
from thinksafe.jsonl import read_record
from thinksafe.report.comparison.model import ComparisonResult

ROOT = Path(__file__).parents[2]
THINKSAFE = str(Path(sys.executable).with_name("thinksafe"))
ENDED = (0, 3)
"""Exit codes of a comparison with a result: some method passes the gate, or none does."""


def main() -> int:
    """Run what is missing and write the page; return 1 if something could not be done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "study", help="folder of the study")
    parser.add_argument("--students", type=int, default=Settings.students)
    parser.add_argument("--seeds", type=int, default=Settings.seeds)
    parser.add_argument("--page", type=Path, help="page to write; study.md in the folder by default")
    given = parser.parse_args()
    settings, started = Settings(given.students, given.seeds), time.monotonic()
    out: Path = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    cells = {}
    for number, (student, seed) in enumerate(settings.cells, start=1):
        model = _student(out, student)
        print(f"comparison {number} of {len(settings.cells)}: student {student}, seed {seed}", flush=True)
        if (result := _compared(out / f"student-{student}-seed-{seed}", model, seed)) is None:
            return 1
        cells[student, seed] = result
    target = given.page or out / "study.md"
    page.write(Study(cells), settings, target)
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
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return str(folder)


def _compared(folder: Path, student: str, seed: int) -> ComparisonResult | None:
    """Return the result of a comparison, which is run or goes on; None if it failed."""
    command = [THINKSAFE, "compare", str(RECIPE), "--out", str(folder), "--set", f"student.model={student}",
               "--set", f"seed={seed}"]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        done = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, check=False, env={**os.environ, "NO_COLOR": "1"}
        )
    if done.returncode not in ENDED:
        print(f"error: {folder.name} ended with {done.returncode}.\n  Read {folder}.log.", file=sys.stderr)
        return None
    return read_record(folder / "comparison.json", ComparisonResult)


if __name__ == "__main__":
    sys.exit(main())
