"""The fault scenarios of docs/reliability.md in their short form: fewer repeats, the same code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
HALVES = (("kills", "disk"), ("S3", "MLflow", "promoters"))
"""Groups that run one after another; the halves run side by side."""


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """Run the command and return its records."""
    folder = tmp_path_factory.mktemp("faults")
    started = []
    for number, groups in enumerate(HALVES):
        out = folder / str(number)
        command = [sys.executable, "-m", "benchmarks.faults", "--quick", "--out", str(out)]
        command += [text for group in groups for text in ("--only", group)]
        with (folder / f"{number}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        started.append((process, out / "faults.json", folder / f"{number}.log"))
    found = []
    try:
        for process, report, log in started:
            process.wait(1200)
            assert report.is_file(), log.read_text()[-4000:]
            found += json.loads(report.read_bytes())["scenarios"]
        yield found
    finally:
        for process, _, _ in started:
            process.kill()


@pytest.mark.parametrize("group", [group for half in HALVES for group in half])
def test_faults_leave_nothing_wrong(scenarios: list[dict[str, Any]], group: str) -> None:
    mine = [one for one in scenarios if one["group"] == group]
    assert mine
    failed = [(one["name"], one["problems"], one["observed"]) for one in mine if one["outcome"] == "failed"]
    assert not failed
    if skipped := {one["skipped"] for one in mine if one["outcome"] == "skipped"}:
        pytest.skip("; ".join(sorted(skipped)))
