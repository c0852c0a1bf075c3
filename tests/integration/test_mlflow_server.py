"""Registration, promotion and runs against real MLflow servers: SQLite and PostgreSQL, proxied and direct artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ceph import S3Server
from mlflow_servers import MlflowServer, mlflow_server
from postgres import PASSWORD, Postgres
from registry_runs import World, add_adapter
from s3_servers import BUCKET, moto_s3, real_s3

from thinksafe.config.model import RegistrySettings
from thinksafe.digests import digest_folder
from thinksafe.errors import StageError
from thinksafe.models.references import Trained
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.registry import ledger
from thinksafe.registry.mlflow_client import connect
from thinksafe.registry.registration import register_candidate, verify_version
from thinksafe.registry.tracking import write_runs
from thinksafe.run.record import StageRecord
from thinksafe.store import open_store

pytestmark = pytest.mark.slow
MODES = ("sqlite, proxied", "postgresql, proxied", "sqlite, direct to moto", "postgresql, direct to ceph")
ROOT = f"s3://{BUCKET}/mlflow"


class Mode:
    """A server, and the environment that its clients need."""

    def __init__(self, server: MlflowServer, s3: S3Server | None) -> None:
        self.uri, self.server, self.s3 = server.uri, server, s3


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mode]:
    """A server of this file's own: versions are counted here, and others register on the one that is shared."""
    name: str = request.param
    folder = tmp_path_factory.mktemp("server")
    database = ""
    if "postgresql" in name:
        postgres: Postgres = request.getfixturevalue("database")
        database = postgres.new_database(f"mode_{MODES.index(name)}")
    if "proxied" in name:
        with mlflow_server(folder, database=database) as server:
            yield Mode(server, None)
        return
    with (
        moto_s3() if "moto" in name else real_s3(tmp_path_factory.mktemp("s3")) as s3,
        # The server itself has no credentials: its clients write.
        mlflow_server(folder, database=database, artifacts=ROOT) as server,
    ):
        yield Mode(server, s3)


@pytest.fixture
def uri(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's address, with what its clients need in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if mode.s3 is not None:
        from thinksafe.store.s3 import s3_client

        for name, value in mode.s3.environment.items():
            monkeypatch.setenv(name, value)
        client = s3_client()
        if not client.list_buckets()["Buckets"]:
            client.create_bucket(Bucket=BUCKET)
        _forget_s3_clients()
    return mode.uri


def test_register_promote_and_roll_back(
    uri: str, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, uri)
    client = connect(uri)
    for generation, name in enumerate(("one", "two"), start=1):
        run = world.run(name)
        again = register_candidate(
            world.store, run.candidate, world.settings, run_id=name, data_digest="data", config_digest="config"
        )
        assert again.version == str(generation)
        run.tag()
        run.promote()
        assert world.alias == str(generation)
    assert client.get_model_version("m", "2").tags["thinksafe.decision"] == "passed"
    with pytest.raises(StageError, match="is not in MLflow"):
        verify_version(client, uri, "m", "3", Trained("lora", "adapters/x", "x"))
    assert world.roll_back().version == "1"
    assert world.alias == "1"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    import mlflow.artifacts

    served = mlflow.artifacts.download_artifacts("models:/m@champion", dst_path=str(tmp_path / "served"))
    assert digest_folder(Path(served), ADAPTER_FILES) == ledger.entries(world.store, "m")[0].digests.adapter
    source = client.get_model_version("m", "1").source
    if mode.s3 is None:
        assert source.startswith("mlflow-artifacts:/")
    else:
        assert source.startswith(f"{ROOT}/")
        assert set(open_store(source).keys("")) == set(ADAPTER_FILES)

    assert client.get_model_version("m", "2").tags["thinksafe.taken_back"] == "generation 3"
    world.withdraw()
    assert world.alias == ""
    assert client.get_model_version("m", "1").tags["thinksafe.taken_back_reason"] == "it is harmful"
    assert world.roll_back(to=2).version == "2"
    assert world.alias == "2"
    assert "thinksafe.taken_back" not in client.get_model_version("m", "2").tags


def test_runs_are_written_once(uri: str, tmp_path: Path) -> None:
    settings = RegistrySettings(model="m", experiment="runs", tracking_uri=uri)
    page = tmp_path / "report.html"
    page.write_text("<p>")
    base: dict[str, Any] = {"run_id": "r", "status": "succeeded", "started": 1000.0, "seconds": 1.0}
    records = {
        task: StageRecord(**base, stage=task, task=task, counts={"rows": 5}, section={"a": {"b": 1}})
        for task in ("plan", "prepare", "gate")
    }
    parent = write_runs(records, settings, [page], run_id="r", name="micro")
    assert write_runs(records, settings, [page], run_id="r") == parent
    client = connect(uri)
    experiment = client.get_experiment_by_name("runs").experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert [file.path for file in client.list_artifacts(parent)] == ["report.html"]


def test_uploads_without_credentials_say_what_is_missing(
    uri: str, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode.s3 is None:
        pytest.skip("this server uploads itself")
    world = World(tmp_path, uri)
    candidate = add_adapter(world.store, "without")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    settings = world.settings.model_copy(update={"model": "without"})
    arguments: dict[str, Any] = {"run_id": "without", "data_digest": "d", "config_digest": "c"}
    _forget_s3_clients()
    with pytest.raises(StageError, match="could not upload the adapter") as caught:
        register_candidate(world.store, candidate, settings, **arguments)
    assert "AWS_ACCESS_KEY_ID" in caught.value.action
    assert "AWS_ENDPOINT_URL" in caught.value.action
    assert connect(uri).search_registered_models("name = 'without'") == []

    assert mode.s3 is not None
    for name, value in mode.s3.environment.items():
        monkeypatch.setenv(name, value)
    _forget_s3_clients()
    assert register_candidate(world.store, candidate, settings, **arguments).version == "1"


def _forget_s3_clients() -> None:
    """MLflow keeps its clients for ten minutes, boto3 its session for ever, with the credentials of then."""
    import boto3
    from mlflow.store.artifact.s3_artifact_repo import _cached_get_s3_client

    _cached_get_s3_client.cache_clear()
    boto3.setup_default_session()


def test_a_database_is_a_tracking_uri_too(database: Postgres, tmp_path: Path) -> None:
    """Without a server between: for a team that trusts its members with the database."""
    world = World(tmp_path)
    settings = RegistrySettings.model_construct(
        model="m", experiment="direct", tracking_uri=database.new_database("direct")
    )
    from thinksafe.registry.tracking import ensure_parent_run

    first = ensure_parent_run(settings, "run-1", "micro")
    assert ensure_parent_run(settings, "run-1", "micro") == first
    wrong = settings.tracking_uri.replace("not%40shown", "wr0ng%40one")
    with pytest.raises(StageError, match=r"could not connect .*password authentication failed") as caught:
        connect(wrong)
    assert "wr0ng" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).startswith(f"MLflow at postgresql+psycopg2://127.0.0.1:{database.port}/direct could not")
    assert world.history == []
