"""docs/governance.md as it is written: a run that waits, a person who approves."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from micro_runs import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

DOCS = Path(__file__).parents[2] / "docs" / "governance.md"


def blocks(section: str) -> list[str]:
    """Return the console blocks of a section as shell scripts."""
    text = DOCS.read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in found]


def shell(script: str, folder: Path) -> str:
    path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env={**os.environ, "PATH": path, "COLUMNS": "200"},
        capture_output=True, text=True, timeout=900, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_that_waits_and_a_person_who_approves(tmp_path: Path) -> None:
    first, approve, second = blocks("A run that waits, a person who approves")
    waited = shell(first, tmp_path)
    run = tmp_path / "runs" / "signed"
    store = run / "store"
    assert "Awaiting approval" in waited
    assert not list(store.glob("promotions/*/*"))
    assert "thinksafe approve micro-student --version 1 --decision" in (run / "report.html").read_text("utf-8")
    before = {name: (run / name).read_bytes() for name in ("decision.json", "metrics.json")}

    assert "approved: 1 of 1 approvals" in shell(approve, tmp_path)
    assert not list(store.glob("promotions/*/*"))

    promoted = shell(second, tmp_path)
    assert "Promoted" in promoted
    assert "read the report" in promoted, "the history says why"
    (entry,) = [json.loads(path.read_text("utf-8")) for path in store.glob("promotions/*/*.json")]
    assert [use["reason"] for use in entry["approvals"]] == ["read the report"]
    assert {name: (run / name).read_bytes() for name in before} == before
    assert "| Approved | by " in (run / "README.md").read_text("utf-8")
    page = (run / "report.html").read_text("utf-8")
    assert "unverified" in page
    assert "read the report" in page
