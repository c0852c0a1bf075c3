"""Fixtures of the whole runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from micro_runs import Run, execute


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The micro recipe, run once for all tests that only read it."""
    return execute(tmp_path_factory.mktemp("micro") / "run", "micro")


@pytest.fixture(scope="session")
def run_recipe() -> Callable[..., Run]:
    return execute
