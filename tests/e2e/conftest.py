"""Fixtures of the whole runs."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable

import pytest
from micro_runs import Run, execute


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The micro recipe, run once for all tests that only read it, whichever of xdist's workers they are in."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "micro"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = folder / "ended.json"
        if not ended.is_file():
            run = execute(folder / "run", "micro")
            ended.write_text(json.dumps([run.code, run.text]))
    return Run(folder / "run", *json.loads(ended.read_text()))


@pytest.fixture(scope="session")
def run_recipe() -> Callable[..., Run]:
    return execute
