"""One run measures what the next one does: samples and tokens of the second are what was estimated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estimated_runs import check, require_done_anew
from micro_runs import execute, thinksafe

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_the_second_run_of_micro_does_what_was_estimated(tmp_path: Path) -> None:
    measured = execute(tmp_path / "first", "micro")
    assert measured.code == 0, measured.text
    store, changed = str(measured.folder / "store"), ("--set", "seed=43")
    tracking = f"sqlite:///{measured.folder / 'mlflow.db'}"
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
