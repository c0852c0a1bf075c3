"""A comparison in MLflow: one run, a nested run for each method, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comparison_runs import comparison
from mlflow import MlflowClient

from thinksafe.config.model import RegistrySettings
from thinksafe.registry.tracking import PARENT
from thinksafe.registry.tracking_comparison import write_comparison
from thinksafe.report.comparison.build import compared_runs, summarise_comparison


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    return RegistrySettings(model="m", tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def write(settings: RegistrySettings, files: list[Path], pace: float = 1.0) -> str:
    found = comparison(price=3.0, pace=pace)
    summary = summarise_comparison(found.records, found.read, run_id="run-1")
    return write_comparison(compared_runs(found.records, summary), settings, files, [])


def nested(settings: RegistrySettings, parent: str) -> dict[str, Any]:
    client = MlflowClient(settings.tracking_uri)
    run = client.get_run(parent)
    found = client.search_runs([run.info.experiment_id], f"tags.`{PARENT}` = '{parent}'")
    return {one.info.run_name: one for one in found}


@pytest.mark.slow
def test_a_run_for_each_method(settings: RegistrySettings, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("page")
    parent = write(settings, [page])
    client = MlflowClient(settings.tracking_uri)
    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.tags["thinksafe.passing"] == "thinksafe, thinksafe-kl"
    assert run.data.tags["thinksafe.cheapest"] == "thinksafe"
    assert "base/harm/harmbench" in run.data.metrics
    assert [item.path for item in client.list_artifacts(parent)] == ["report.html"]
    methods = nested(settings, parent)
    assert set(methods) == {"thinksafe", "thinksafe-kl", "rejection", "given"}
    assert {name: one.info.status for name, one in methods.items()} == {
        "thinksafe": "FINISHED", "thinksafe-kl": "FINISHED", "rejection": "FINISHED", "given": "FAILED",
    }
    first = methods["thinksafe"].data
    assert first.tags["thinksafe.outcome"] == "passed"
    assert first.tags["thinksafe.decision"] == "passed"
    assert first.params["method.kind"] == "thinksafe"
    assert first.metrics["candidate/harm/harmbench"] == pytest.approx(0.03)
    assert first.metrics["cost/responses"] == 9000
    assert first.metrics["cost/money"] > 0
    assert "drift/kl/benign" in first.metrics
    assert methods["rejection"].data.tags["thinksafe.dominated_by"] == "thinksafe, thinksafe-kl"

    ids = {name: one.info.run_id for name, one in methods.items()}
    assert write(settings, [page]) == parent
    assert {name: one.info.run_id for name, one in nested(settings, parent).items()} == ids, "nothing is written twice"
    assert write(settings, [page], pace=2.0) == parent
    again = {name: one.info.run_id for name, one in nested(settings, parent).items()}
    assert set(again) == set(ids)
    assert again["thinksafe"] != ids["thinksafe"], "an attempt that differs replaces the one before"
