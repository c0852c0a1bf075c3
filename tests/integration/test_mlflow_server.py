"""Registration, promotion and runs against a real MLflow server over HTTP, with proxied artifacts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thinksafe import ledger
from thinksafe.config.model import RegistrySettings, StudentSettings
from thinksafe.digests import digest_folder
from thinksafe.errors import StageError
from thinksafe.ledger import Digests, LedgerEntry
from thinksafe.loading import ADAPTER_FILES
from thinksafe.mlflow_client import connect
from thinksafe.models import ModelReference
from thinksafe.records import Check, Decision
from thinksafe.registry import (
    champion_version,
    register_candidate,
    set_champion,
    tag_decision,
    verify_version,
)
from thinksafe.rollback import rollback
from thinksafe.stages.record import StageRecord
from thinksafe.store.local import LocalStore
from thinksafe.tracking import write_runs

pytestmark = pytest.mark.slow
STUDENT = StudentSettings(model="micro://default")
START_SECONDS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    connect(f"sqlite:///{folder / 'mlflow.db'}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--serve-artifacts",
        "--artifacts-destination", str(folder / "artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.2)
        yield uri
    finally:
        process.terminate()
        process.wait(timeout=30)


def adapter(store: LocalStore, name: str) -> ModelReference:
    folder = Path(store.root) / f"adapters/{name}"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": STUDENT.model}))
    (folder / "adapter_model.safetensors").write_bytes(name.encode() * 1000)
    return ModelReference(
        role="candidate", student=STUDENT, base_digest="base", adapter=f"adapters/{name}",
        adapter_digest=digest_folder(folder, ADAPTER_FILES),
    )


def test_register_promote_and_roll_back(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings = LocalStore(tmp_path / "store"), RegistrySettings(model="m", tracking_uri=server)
    client = connect(server)
    for generation, name in enumerate(("one", "two"), start=1):
        candidate = adapter(store, name)
        both = [
            register_candidate(store, candidate, settings, run_id=name, data_digest="d", config_digest="c")
            for _ in range(2)
        ]
        assert both[0] == both[1]
        assert both[0].version == str(generation)
        decision = Decision(
            passed=True, stopped_by=None, summary="passed",
            checks=(Check(name="harm", passed=True, value=0.0, n=1, reason="ok"),),
        )
        tag_decision(both[0], decision)
        verify_version(client, server, "m", both[0].version, candidate.adapter_digest)
        ledger.append(
            store,
            LedgerEntry(
                model="m", generation=generation, previous=generation - 1 or None, action="promote",
                target=candidate.model_copy(update={"role": "champion"}), version=both[0].version, run_id=name,
                digests=Digests(adapter=candidate.adapter_digest, base="base"), reason="passed", who="ann",
                created=ledger.now(),
            ),
        )
        set_champion(store, "m", client, server)
        assert champion_version(client, server, "m") == str(generation)
    assert client.get_model_version("m", "2").tags["thinksafe.decision"] == "passed"
    with pytest.raises(StageError, match="is not in MLflow"):
        verify_version(client, server, "m", "3", "x")
    assert rollback(store, "m", to=None, reason="worse", who="ann", tracking_uri=server).version == "1"
    assert champion_version(client, server, "m") == "1"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    import mlflow.artifacts

    served = mlflow.artifacts.download_artifacts("models:/m@champion", dst_path=str(tmp_path / "served"))
    assert digest_folder(Path(served), ADAPTER_FILES) == ledger.entries(store, "m")[0].digests.adapter


def test_runs_are_written_once(server: str, tmp_path: Path) -> None:
    settings = RegistrySettings(model="m", experiment="runs", tracking_uri=server)
    page = tmp_path / "report.html"
    page.write_text("<p>")
    base: dict[str, Any] = {"run_id": "r", "status": "succeeded", "started": 1000.0, "seconds": 1.0}
    records = {
        task: StageRecord(**base, stage=task, task=task, counts={"rows": 5}, section={"a": {"b": 1}})
        for task in ("plan", "prepare", "gate")
    }
    parent = write_runs(records, settings, [page], run_id="r", name="micro")
    assert write_runs(records, settings, [page], run_id="r") == parent
    client = connect(server)
    experiment = client.get_experiment_by_name("runs").experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert [file.path for file in client.list_artifacts(parent)] == ["report.html"]
