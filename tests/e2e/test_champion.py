"""A second realignment against a champion, and the way back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from micro_runs import Run, thinksafe

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_the_second_candidate_is_compared_with_the_champion_and_rollback_returns(
    micro: Run, run_recipe: Callable[..., Run], tmp_path: Path
) -> None:
    """The second run has another seed, and passes as the first one did."""
    assert micro.code == 0, micro.text
    first = Run(Path(shutil.copytree(micro.folder, tmp_path / "first")), micro.code, micro.text)
    store = str(first.folder / "store")
    tracking = f"sqlite:///{first.folder / 'mlflow.db'}"
    same = run_recipe(tmp_path / "same", "micro", "--artifacts", store, "--tracking-uri", tracking, "--if-changed")
    assert same.code == 0, same.text
    assert "Nothing to do" in same.text
    assert not (same.folder / "decision.json").exists()
    assert [entry["generation"] for entry in first.ledger] == [1]
    # equal models differ by chance, and 300 prompts cannot show a margin of two points
    wide = [f"gate.champion.{name}_margin=0.1" for name in ("harm", "over_refusal", "reasoning")]
    settings = [option for setting in ["seed=11", *wide] for option in ("--set", setting)]
    second = run_recipe(
        tmp_path / "second", "micro", "--artifacts", store, "--tracking-uri", tracking, *settings
    )
    assert second.code == 0, second.text
    names = {check["name"] for check in second.read("decision.json")["checks"]}
    assert {"champion/harm/micro-harm", "champion/over_refusal/micro-safe-twins", "champion/reasoning"} <= names
    assert second.read("metrics.json")["champion"]["metrics"]
    assert [entry["generation"] for entry in first.ledger] == [1, 2]
    back = thinksafe(
        "rollback", "micro-student", "--artifacts", store, "--tracking-uri", tracking, "--reason", "test"
    )
    assert back.returncode == 0, back.stderr
    ledger = first.ledger
    assert ledger[-1]["action"] == "rollback"
    assert ledger[-1]["version"] == ledger[0]["version"]
    from mlflow import MlflowClient

    client = MlflowClient(tracking)
    assert str(client.get_model_version_by_alias("micro-student", "champion").version) == ledger[0]["version"]
