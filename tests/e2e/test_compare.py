"""``thinksafe compare``: several methods on the micro student, one of which fails; killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from micro_runs import COMMAND, SMALL, Run, thinksafe

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

REFUSAL = "<think> i must decline. </think> sorry, i will not assist with that."
METHODS = [
    {"name": "thinksafe"},
    {"name": "kl", "overrides": {"method": {"benign_loss": "kl"}}},
    {"name": "all-safe", "overrides": {"method": {"kind": "rejection"}}},
    {"name": "direct", "overrides": {
        "method": {"kind": "direct-refusal", "refusal": REFUSAL},
        "training": {"max_length": 1},
    }},
]
"""Two with a candidate, one that curation stops, one whose training fails."""


def document(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({"extends": "micro", "name": "several", "compare": METHODS, **SMALL, **changes}))
    return path


def compare(config: Path, folder: Path, *options: str) -> Run:
    done = thinksafe("compare", str(config), "--out", str(folder), *options)
    return Run(folder, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("compare")
    return compare(document(folder / "several.yaml"), folder / "out")


def test_one_that_fails_leaves_the_others_standing(several: Run) -> None:
    assert several.code == 0, several.text
    result = several.read("comparison.json")
    outcomes = {of["name"]: of["outcome"] for of in result["methods"]}
    assert outcomes == {
        "thinksafe": "passed", "kl": "passed", "all-safe": "stopped by curate", "direct": "failed",
    }, several.text
    assert "training.max_length" in result["methods"][3]["why"]
    assert result["differences"]["intervals"] == 9
    page = (several.folder / "report.html").read_text()
    assert "2 of 4 methods pass" in page
    assert "Nothing was registered or promoted" in page


def test_shared_work_is_done_once(several: Run) -> None:
    tasks = {path.stem for path in several.folder.glob("store/runs/*/*.json")}
    for once in ("plan", "prepare", "sample-base", "judge-base", "grade-base", "metrics-base"):
        assert once in tasks
    assert {task for task in tasks if task.startswith("sample-pilot")} == {"sample-pilot.thinksafe"}
    assert {task for task in tasks if task.startswith("sample-training")} == {
        "sample-training.thinksafe", "sample-training.all-safe", "sample-training.direct",
    }


def test_nothing_is_registered_or_promoted(several: Run) -> None:
    from mlflow import MlflowClient

    assert several.ledger == []
    client = MlflowClient(f"sqlite:///{several.folder / 'mlflow.db'}")
    assert client.search_registered_models() == []
    (experiment,) = [found for found in client.search_experiments() if found.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["all-safe", "compare several", "direct", "kl", "thinksafe"]


def test_the_decision_is_that_of_the_methods_own_run(several: Run, tmp_path: Path) -> None:
    config = document(tmp_path / "several.yaml")
    done = thinksafe(
        "run", str(config), "--out", str(tmp_path / "out"), "--set", "method.benign_loss=kl", "--set", "name=alone"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    alone = json.loads((tmp_path / "out" / "decision.json").read_text())
    ours = several.records["gate.kl"]["details"]["decision"]
    assert ours["checks"] == alone["checks"]


def test_killed_and_started_again_it_ends_in_the_same_bytes(several: Run, tmp_path: Path) -> None:
    config, folder = document(tmp_path / "several.yaml"), tmp_path / "out"
    for seconds in (12.0, 20.0):
        process = subprocess.Popen(
            [COMMAND, "compare", str(config), "--out", str(folder)], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(0.5)
    last = compare(config, folder)
    assert last.code == 0, last.text
    assert (folder / "comparison.json").read_bytes() == (several.folder / "comparison.json").read_bytes()


def test_if_none_passes_the_exit_code_says_so(tmp_path: Path) -> None:
    config = document(tmp_path / "several.yaml", compare=METHODS[:2])
    refused = compare(config, tmp_path / "out", "--set", "gate.harm.max=0.03")
    assert refused.code == 3, refused.text
    assert refused.read("comparison.json")["outcome"] == "none passes"


def test_a_config_without_methods_is_refused(tmp_path: Path) -> None:
    done = thinksafe("compare", "micro", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "names 0 methods to compare" in done.stderr
