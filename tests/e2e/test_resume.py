"""Killed at any moment and started again: the same decision and metrics, at most one chunk made twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from micro_runs import COMMAND, Run

from thinksafe.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

KILLS = 4
"""Moments spread over the run; a kill during the last seconds may come too late, which the test allows for."""


def test_a_killed_run_ends_with_the_same_files(micro: Run, tmp_path: Path) -> None:
    assert micro.code == 0, micro.text
    folder = tmp_path / "run"
    command = [COMMAND, "run", "micro", "--out", str(folder)]
    moments = random.Random(20)
    before: dict[Path, int] = {}
    for kill in range(KILLS):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(timeout=moments.uniform(5, 25))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(0.5)
        assert not _alive(folder), f"kill {kill} left a stage running"
        done = {path: path.stat().st_mtime_ns for path in folder.glob("store/chunks/*/done.json")}
        assert before.keys() <= done.keys(), "a finished chunk was lost"
        before = done
    last = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    run = Run(folder, last.returncode, last.stdout + last.stderr)
    assert run.code == 0, run.text
    for name in ("decision.json", "metrics.json"):
        assert (folder / name).read_bytes() == (micro.folder / name).read_bytes()
    assert [entry["generation"] for entry in run.ledger] == [1]
    chunks = [open_store(str(where / "store")).keys("chunks/") for where in (folder, micro.folder)]
    assert chunks[0] == chunks[1]
    assert before, "the kills came too early to show anything"
    again = [path for path, written in before.items() if path.stat().st_mtime_ns != written]
    assert len(again) <= 1, "finished chunks were made again"


def _alive(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:  # a stage is known by its log: it is a fork, whose command line is another
            log = os.readlink(entry / "fd" / "1")
        except OSError:
            continue
        if log.startswith(str(folder)):
            found.append(int(entry.name))
    return found
