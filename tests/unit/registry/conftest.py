from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from thinksafe.config.model import RegistrySettings
from thinksafe.store.local import LocalStore


@pytest.fixture
def settings(mlflow_tables: Path, tmp_path: Path) -> RegistrySettings:
    shutil.copy(mlflow_tables, tmp_path / "mlflow.db")
    return RegistrySettings(model="m", tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")
