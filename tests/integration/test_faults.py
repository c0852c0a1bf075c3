"""The fault scenarios of docs/reliability.md in their short form: fewer repeats, the same code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
GROUPS = ("kills", "S3", "MLflow", "promoters", "disk")


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run the command and return its records."""
    out = tmp_path_factory.mktemp("faults") / "out"
    command = [sys.executable, "-m", "benchmarks.faults", "--quick", "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2400, check=False)
    assert (out / "faults.json").is_file(), (ended.stdout + ended.stderr)[-4000:]
    found: list[dict[str, Any]] = json.loads((out / "faults.json").read_bytes())["scenarios"]
    assert ended.returncode == any(one["outcome"] == "failed" for one in found)
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_faults_leave_nothing_wrong(scenarios: list[dict[str, Any]], group: str) -> None:
    mine = [one for one in scenarios if one["group"] == group]
    assert mine
    failed = [(one["name"], one["problems"], one["observed"]) for one in mine if one["outcome"] == "failed"]
    assert not failed
    if skipped := {one["skipped"] for one in mine if one["outcome"] == "skipped"}:
        pytest.skip("; ".join(sorted(skipped)))
