"""The acceptance suite against a cluster of stand-ins, as far as they go, so that it cannot rot.

Whether a real cluster passes it, only a real cluster shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helm_chart import tool
from micro_runs import SMALL
from stand_in_cluster import StandIns, stand_in_cluster

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

NOT_HERE = {
    "password wrong": "checks no signatures", "train job with two nodes": "no Kubeflow Trainer",
    "multi user with the rights of the chart alone": "single-user mode",
}
"""Cases that the stand-ins cannot carry, and words of the reason."""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIns]:
    tool("helm")
    config = {**SMALL, "sampling": {"parallelism": 1}}
    with stand_in_cluster(tmp_path_factory.mktemp("cluster"), config, {}) as running:
        yield running


@pytest.fixture(scope="module")
def cases(stand_ins: StandIns) -> dict[str, Any]:
    suite = Path(__file__).parents[1] / "acceptance"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(suite), "-m", "accept", "-q", "-p", "no:cacheprovider"],
        env=stand_ins.variables, capture_output=True, text=True, timeout=7200, check=False, cwd=suite.parents[1],
    )
    written = Path(stand_ins.variables["ACCEPT_OUT"]) / "acceptance.json"
    assert written.is_file(), done.stdout + done.stderr
    assert "acceptance" in done.stdout
    found: dict[str, Any] = json.loads(written.read_text())
    return found


def test_no_case_fails(cases: dict[str, Any], stand_ins: StandIns) -> None:
    failed = {name: case["reason"] for name, case in cases.items() if case["outcome"] == "failed"}
    assert failed == {}, stand_ins.backend.faults
    assert len(cases) == 23


def test_what_is_not_possible_here_is_said_with_the_reason(cases: dict[str, Any]) -> None:
    not_here = {name: case["reason"] for name, case in cases.items() if case["outcome"] == "not possible here"}
    assert set(not_here) == set(NOT_HERE)
    for name, words in NOT_HERE.items():
        assert words in not_here[name], name


def test_the_cluster_is_as_it_was(cases: dict[str, Any], stand_ins: StandIns) -> None:
    assert sorted(stand_ins.api.objects) == []
    assert stand_ins.kfp.pipelines == stand_ins.kfp.runs == stand_ins.kfp.experiments == []
