"""The stage commands of an evaluation by itself, as containers call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def plan(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setattr("thinksafe.registry.tracking.ensure_parent_run", lambda *arguments: "mlflow-1")
    files = [
        "--model-out", tmp_path / "model", "--passed-out", tmp_path / "passed", "--plan-out", tmp_path / "plan",
        "--previous-out", tmp_path / "previous",
    ]
    return lambda *options: cli(
        "plan_evaluation", "--suite", "micro", "--artifacts", tmp_path / "store", "--run-id", "run-1", *files, *options
    )


def test_before_the_first_promotion(plan: Callable[..., Any], tmp_path: Path) -> None:
    # Kubeflow hands booleans on as true or True
    for flag in ("true", "True"):
        ended = plan("--model", "champion", "--if-champion", flag)
        assert ended.code == 0, ended.err
        assert (tmp_path / "passed").read_text() == "false"
        assert json.loads((tmp_path / "plan").read_text())["run_id"] == "run-1"
    ended = plan("--model", "champion", "--if-champion", "false")
    assert ended.code == 2
    assert "has no champion" in ended.err


@pytest.mark.parametrize("option", ["--fresh", "--if-champion"])
def test_a_flag_is_true_or_false(plan: Callable[..., Any], option: str) -> None:
    ended = plan(option, "yes")
    assert ended.code == 2
    assert f"{option} 'yes' is neither true nor false. " in ended.err.replace("\n ", "")
