"""Killed at any moment and started again: the same decision and metrics, at most one chunk made twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from micro_runs import COMMAND, Run

from thinksafe.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

KILLS = 4
"""Spread over the run by the chunks that are finished."""


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
        _wait(process, folder, len(before) + moments.randint(1, 4))
        time.sleep(moments.uniform(0, 3))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.5)
        assert not _alive(folder), f"kill {kill} left a stage running"
        done = _finished(folder)
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
    assert before, "there was nothing to find again"
    again = [path for path, written in before.items() if path.stat().st_mtime_ns != written]
    assert len(again) <= 1, "finished chunks were made again"


def _wait(process: subprocess.Popen[bytes], folder: Path, chunks: int) -> None:
    """Wait until so many chunks are finished, or the run has ended: a slow machine is killed at the same places."""
    until = time.monotonic() + 600
    while process.poll() is None and len(_finished(folder)) < chunks:
        assert time.monotonic() < until, f"no {chunks} chunks in ten minutes"
        time.sleep(0.1)


def _finished(folder: Path) -> dict[Path, int]:
    """Return when each finished chunk was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("store/chunks/*/done.json")}


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
