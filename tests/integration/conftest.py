"""Servers that several files use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlflow_servers import MlflowServer, mlflow_server
from postgres import Postgres, missing, postgres


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
