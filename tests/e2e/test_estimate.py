"""One run measures what the next one takes: the estimate of the second is within a factor of 1.5 of what it spent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from estimated_runs import check, require_done_anew
from micro_runs import Run, execute, thinksafe

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_the_second_run_of_micro_takes_what_was_estimated(micro: Run, tmp_path: Path) -> None:
    assert micro.code == 0, micro.text
    first_run = Path(shutil.copytree(micro.folder, tmp_path / "first"))
    store, changed = str(first_run / "store"), ("--set", "seed=43")
    tracking = f"sqlite:///{first_run / 'mlflow.db'}"
    told = thinksafe("estimate", "micro", *changed, "--artifacts", store, "--json")
    assert told.returncode == 0, told.stderr
    estimate = json.loads(told.stdout)
    (first,) = (path.name for path in Path(store, "runs").iterdir())
    assert estimate["unknown"] == []
    assert estimate["runs"] == [first]
    assert {task["speed"] for task in estimate["tasks"]} == {f"run {first}"}
    assert "sample-champion" in {task["task"] for task in estimate["tasks"]}, "the first run promoted one"

    run = execute(tmp_path / "second", "micro", *changed, "--artifacts", store, "--tracking-uri", tracking)
    assert run.code in (0, 3), run.text
    second = run.read("run.json")["run_id"]
    records = {
        path.stem: json.loads(path.read_text("utf-8")) for path in Path(store, "runs", second).glob("*.json")
    }
    require_done_anew(records, {task["task"] for task in estimate["tasks"]})
    check(records, estimate)
    page = (run.folder / "report.html").read_text("utf-8")
    assert f"by run {first}; spent" in page
    assert "part of the work was found in the store" not in page
