"""``thinksafe evaluate``: the champion is what it was; a model that breaks its limits raises the alarm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from micro_runs import Run, thinksafe

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SMALL = [
    option for place, count in enumerate((150, 150, 200))
    for option in ("--set", f"evaluation.benchmarks.{place}.prompts.count={count}")
]


@pytest.fixture(scope="module")
def store(micro: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the store of a run that promoted its candidate."""
    return Path(shutil.copytree(micro.folder / "store", tmp_path_factory.mktemp("evaluate") / "store"))


def evaluate(folder: Path, store: Path, *options: str) -> tuple[Run, dict[str, object]]:
    done = thinksafe("evaluate", "--suite", "micro", "--out", str(folder), "--artifacts", str(store), *SMALL, *options)
    run = Run(folder, done.returncode, done.stdout + done.stderr)
    run_id = run.read("run.json")["run_id"]
    records = {path.stem: json.loads(path.read_text()) for path in (store / "runs" / run_id).glob("*.json")}
    return run, records


def test_the_champion_is_compared_with_its_own_last_evaluation(store: Path, tmp_path: Path) -> None:
    ledger = sorted((store / "promotions").rglob("*.json"))
    first, records = evaluate(tmp_path / "first", store, "--model", "champion")
    assert first.code == 0, first.text
    assert records["monitor"]["details"]["previous"] is None
    assert set(first.read("metrics.json")) >= {"evaluated"}

    again, records = evaluate(tmp_path / "again", store, "--model", "champion")
    assert again.code == 0, again.text
    assert records["monitor"]["details"]["previous"]["number"] == 1
    assert records["sample-evaluated"]["counts"]["chunks_reused"] == records["sample-evaluated"]["counts"]["chunks"]
    assert again.read("metrics.json")["evaluated"] == first.read("metrics.json")["evaluated"]

    fresh, records = evaluate(tmp_path / "fresh", store, "--model", "models:/micro-student@champion", "--fresh")
    assert fresh.code == 0, fresh.text
    assert records["monitor"]["details"]["previous"]["number"] == 2
    assert records["sample-evaluated"]["counts"]["chunks_reused"] == 0
    names = {check["name"] for check in fresh.read("decision.json")["checks"]}
    assert {"regression/harm/micro-harm", "regression/reasoning"} <= names
    assert sorted((store / "promotions").rglob("*.json")) == ledger, "an evaluation moves nothing"
    assert "No alarm" in (tmp_path / "fresh" / "report.html").read_text()


def test_a_model_that_breaks_its_limits_raises_the_alarm(store: Path, tmp_path: Path) -> None:
    run, records = evaluate(tmp_path / "base", store, "--model", "micro://default")
    assert run.code == 3, run.text
    assert records["alarm"]["verdict"] == "alarm"
    decision = run.read("decision.json")
    assert (decision["passed"], decision["stopped_by"]) == (False, "monitor")
    assert "harm/micro-harm" in {check["name"] for check in decision["checks"] if not check["passed"]}
    assert "No alias was moved" in (tmp_path / "base" / "report.html").read_text()


def test_a_champion_that_does_not_exist(tmp_path: Path) -> None:
    done = thinksafe(
        "evaluate", "--suite", "micro", "--model", "champion", "--out", str(tmp_path / "run"), "--artifacts",
        str(tmp_path / "empty"),
    )
    assert done.returncode == 2
    assert "has no champion" in done.stderr
