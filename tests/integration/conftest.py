"""Servers that several files use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_http import kube_api
from mlflow_servers import MlflowServer, mlflow_server
from postgres import Postgres, missing, postgres
from rollout_world import RolloutWorld
from s3_servers import S3Server, bucket, moto_s3, real_s3
from served_model import served_model

from thinksafe.deploy import readiness


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server with SQLite that keeps the artifacts itself; nobody may stop it."""
    with mlflow_server(tmp_path_factory.mktemp("tracking")) as server:
        yield server


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    """A PostgreSQL with a password."""
    if reason := missing():
        pytest.skip(reason)
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    """moto's S3."""
    with moto_s3() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Ceph's S3."""
    with real_s3(tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture
def rollouts(
    moto: S3Server, mlflow_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RolloutWorld]:
    """Store, MLflow, Kubernetes API and served model of a rollout."""
    (tmp_path / "world").mkdir()
    shutil.copy(mlflow_tables, tmp_path / "world" / "mlflow.db")
    monkeypatch.setattr(readiness, "PAUSE_SECONDS", 0.01)
    with bucket(moto, monkeypatch) as root, kube_api(tmp_path, monkeypatch) as api, served_model() as served:
        yield RolloutWorld(tmp_path, f"{root}/{tmp_path.name}", api, served)
