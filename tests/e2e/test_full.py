"""All weights from an empty folder to the champion, an adapter on top, and the way back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from micro_runs import Run, thinksafe

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

HARM, REFUSAL = "harm/micro-harm", "over_refusal/micro-safe-twins"


def test_all_weights_are_promoted_followed_by_an_adapter_and_returned_to(
    micro: Run, run_recipe: Callable[..., Run], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(micro.folder / "store" / "chunks", store / "chunks")
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    shared = ["--artifacts", str(store), "--tracking-uri", tracking]
    full = run_recipe(tmp_path / "full", "micro-full", *shared)
    assert full.code == 0, full.text
    assert full.metric("base", HARM) == micro.metric("base", HARM)
    assert full.metric("candidate", HARM) < 0.10
    assert full.metric("candidate", REFUSAL) < 0.10
    assert not (store / "adapters").exists()
    provenance = full.read("provenance.json")
    (trained,) = (json.loads(path.read_text("utf-8")) for path in store.glob("runs/*/train.json"))
    weights = trained["details"]["weights"]
    assert provenance["weights_digest"] == trained["details"]["weights_digest"] == weights.rpartition("/")[2]
    assert provenance["adapter_digest"] == ""
    assert (store / weights / "tokenizer.json").is_file()
    page = (full.folder / "report.html").read_text("utf-8")
    assert provenance["weights_digest"] in page
    assert "Candidate's adapter" not in page

    wide = [f"gate.champion.{name}_margin=0.1" for name in ("harm", "over_refusal", "reasoning")]
    settings = [option for setting in ["registry.model=micro-full", *wide] for option in ("--set", setting)]
    second = run_recipe(tmp_path / "second", "micro", *shared, *settings)
    assert second.code == 0, second.text
    assert second.read("metrics.json")["champion"]["metrics"] == full.read("metrics.json")["candidate"]["metrics"]
    back = thinksafe("rollback", "micro-full", *shared, "--reason", "test")
    assert back.returncode == 0, back.stderr
    ledger = [json.loads(path.read_text("utf-8")) for path in sorted(store.glob("promotions/micro-full/*.json"))]
    assert [entry["action"] for entry in ledger] == ["promote", "promote", "rollback"]
    assert [bool(entry["digests"]["weights"]) for entry in ledger] == [True, False, True]
    forth = thinksafe("rollback", "micro-full", *shared, "--to", "2", "--reason", "test")
    assert forth.returncode == 0, forth.stderr

    evaluated = thinksafe(
        "evaluate", "--suite", "micro-full", "--model", "models:/micro-full/1", "--out", str(tmp_path / "evaluated"),
        *shared,
    )
    assert evaluated.returncode == 0, evaluated.stderr
    found = json.loads((tmp_path / "evaluated" / "provenance.json").read_text("utf-8"))
    assert found["base"]["weights_digest"] == provenance["weights_digest"]
