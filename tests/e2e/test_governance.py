"""docs/governance.md as it is written: a run that waits, a person who approves."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from governance_walk import blocks, shell
from micro_runs import SMALL, execute, thinksafe

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

def test_a_run_that_waits_and_a_person_who_approves(tmp_path: Path) -> None:
    first, approve, second = blocks("A run that waits, a person who approves")
    waited = shell(first, tmp_path).stdout
    run = tmp_path / "runs" / "signed"
    store = run / "store"
    assert "Awaiting approval" in waited
    assert not list(store.glob("promotions/*/*"))
    assert "thinksafe approve micro-student --version 1 --decision" in (run / "report.html").read_text("utf-8")
    before = {name: (run / name).read_bytes() for name in ("decision.json", "metrics.json")}

    assert "approved: 1 of 1 approvals" in shell(approve, tmp_path).stdout
    assert not list(store.glob("promotions/*/*"))

    promoted = shell(second, tmp_path).stdout
    assert "Promoted" in promoted
    assert "read the report" in promoted, "the history says why"
    (entry,) = [json.loads(path.read_text("utf-8")) for path in store.glob("promotions/*/*.json")]
    assert [use["reason"] for use in entry["approvals"]] == ["read the report"]
    assert {name: (run / name).read_bytes() for name in before} == before
    assert "| Approved | by " in (run / "README.md").read_text("utf-8")
    page = (run / "report.html").read_text("utf-8")
    assert "unverified" in page
    assert "read the report" in page


LATER = """
import sys
from pathlib import Path

from rich.console import Console

from thinksafe_pipelines.commands import make_pipeline
from thinksafe_pipelines.local.display import Display
from thinksafe_pipelines.local.runner import run_locally

folder, run_id = Path(sys.argv[1]), sys.argv[2]
with Display(Console()) as display:
    outcome = run_locally(
        make_pipeline("promote"), {"run_id": run_id, "artifacts": str(folder / "store")},
        root=folder / "kfp", logs=folder / "logs" / "later", listener=display,
        environment={"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"},
    )
print([task.task for task in outcome.tasks], outcome.error)
sys.exit(outcome.failed)
"""


def promote(run: Path, run_id: str) -> str:
    """Run the pipeline that a cluster starts by `thinksafe submit --promote`, on this machine."""
    done = subprocess.run(
        [sys.executable, "-c", LATER, str(run), run_id], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_promotion_pipeline_goes_on_with_the_run_that_waited(tmp_path: Path) -> None:
    approval = {"required": 1, "by": [pwd.getpwuid(os.geteuid()).pw_name], "distinct_from_author": False}
    config = tmp_path / "signed.yaml"
    config.write_text(yaml.safe_dump({"extends": "micro", "promotion": {"approval": approval}, **SMALL}))
    waited = execute(tmp_path / "run", str(config))
    assert (waited.code, waited.ledger) == (0, []), waited.text
    run_id = waited.records["promote"]["run_id"]

    assert "plan-promotion" in promote(waited.folder, run_id), "too early: it is no failure, and nothing moves"
    assert (waited.ledger, waited.records["promote"]["verdict"]) == ([], "awaiting approval")

    said = thinksafe(
        "approve", "micro-student", "--version", "1", "--reason", "fine", "--artifacts", str(tmp_path / "run" / "store")
    )
    assert said.returncode == 0, said.stderr
    for _ in range(2):
        promote(waited.folder, run_id)
        (entry,) = waited.ledger
        assert (entry["run_id"], entry["version"], len(entry["approvals"])) == (run_id, "1", 1)
    assert waited.records["report"]["verdict"] == "promoted"
    page = (waited.folder / "store" / "reports" / run_id / "report.html").read_text("utf-8")
    assert "Promoted" in page
