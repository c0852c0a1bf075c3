"""A whole micro run through Kubeflow's local runner, against the same stage commands called in one process.

The first run records the command of every task in the order of their starts. The reference executes them unchanged,
except for the folder, one after another in one fresh Python process: the same stages on the same inputs without
Kubeflow, process starts, progress display or waiting. Each stage has one worker here, so that neither side does two
things at once.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.performance.result import Pairs, Result

REPEATS = 2
SETTINGS = ("sampling.parallelism=1", "evaluation.parallelism=1")
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
RUN = """
import json, sys
from thinksafe_pipelines.local.host import Session
execute, commands = Session.execute, sys.argv[1]
def recording(self, command, variables):
    with open(commands, "a", encoding="utf-8") as stream:
        stream.write(json.dumps([command, {**variables, **self.environment}]) + "\\n")
    return execute(self, command, variables)
Session.execute = recording
sys.argv = ["thinksafe", *sys.argv[2:]]
from thinksafe.cli.main import main
main()
"""
REPLAY = """
import json, os, sys
from thinksafe.cli.main import main
lines = open(sys.argv[1], encoding="utf-8").read().replace(sys.argv[2], sys.argv[3]).splitlines()
for command, variables in map(json.loads, lines):
    os.environ.update(variables)
    sys.argv = command
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; return its wall time and the processor time of everything that it started, including orphans."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wall = time.perf_counter() - clock
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    if done.returncode not in (0, 3):  # 3: the gate refused
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def working(folder: Path) -> tuple[float, int]:
    """Return how long at least one stage was running, by the run's stage records, and their number."""
    from thinksafe.run.record import StageRecord

    found = [
        StageRecord.model_validate_json(path.read_bytes()) for path in folder.glob("store/runs/*/*.json")
    ]
    total, reached = 0.0, float("-inf")
    for start, end in sorted((record.started, record.started + record.seconds) for record in found):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total, len(found)


def measure(_model: Path) -> Result:
    """Compare processor time; the notes give wall time and the findings from the records."""
    walls, processors = Pairs([], []), Pairs([], [])
    outside, tasks = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(REPEATS):
            first, second = Path(scratch, f"run-{repeat}"), Path(scratch, f"replay-{repeat}")
            commands = Path(scratch, f"commands-{repeat}.jsonl")
            settings = [word for setting in SETTINGS for word in ("--set", setting)]
            wall, processor = timed(
                [sys.executable, "-c", RUN, str(commands), "run", "micro", "--out", str(first), *settings]
            )
            walls.ours.append(wall)
            processors.ours.append(processor)
            worked, _ = working(first)
            outside.append((wall - worked) / wall)
            tasks = len(commands.read_text("utf-8").splitlines())
            wall, processor = timed(
                [sys.executable, "-c", REPLAY, str(commands), str(first), str(second)]
            )
            walls.reference.append(wall)
            processors.reference.append(processor)
            same = [
                next((folder / "store" / "reports").glob("*/decision.json")).read_bytes() for folder in (first, second)
            ]
            if same[0] != same[1]:
                raise RuntimeError("the run and the reference came to different decisions")
    mine, theirs = processors.medians
    each = (mine - theirs) / tasks
    return Result(
        "orchestration", "processor time of `thinksafe run micro`, against its stage commands in one process without "
        "Kubeflow (lower is better).", "s", mine, theirs, processors.ratio, processors.interval, REPEATS, "≤ 1.05",
        processors.ratio <= 1.05, n=f"{tasks} tasks",
        notes=(
            f"That is {each:.2f} s of processor time per task, which does not grow with the work. Wall time: "
            f"{median(walls.ours):.0f} s against {median(walls.reference):.0f} s, ratio {walls.ratio:.3f} (pairs: "
            f"{', '.join(f'{ratio:.3f}' for ratio in walls.ratios)}). According to the stage "
            f"records, no stage was running during {100 * median(outside):.0f} % of the run's wall time "
            "(start-up, imports, Kubeflow, final output). "
            "On a cluster, pods replace processes; scheduling and pulling images add to this."
        ),
    )
