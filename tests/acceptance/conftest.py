"""Fixtures of the acceptance suite, which runs against the cluster that its variables describe (README.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accepting.cluster import Cluster
from accepting.leftovers import Leftovers
from accepting.release import Release, secret_name
from accepting.results import Results
from accepting.runs import Run
from accepting.settings import NotPossibleError, read

FILES = ("release", "runs", "refusals", "schedules", "rollouts", "training", "multi_user", "leftovers")
"""Order of the files: what others build on comes first, what looks at the end comes last."""


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "accept":
        config.pluginmanager.register(Results())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    mine = [item for item in items if item.path.parent == here]
    for item in mine:
        item.add_marker(pytest.mark.accept)
    mine.sort(key=lambda item: FILES.index(item.path.stem.removeprefix("test_")))
    items[:] = [item for item in items if item.path.parent != here] + mine


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster, with the Secret of the bucket; what the session made is removed at its end."""
    try:
        found = Cluster(read(), tmp_path_factory.mktemp("acceptance"))
    except NotPossibleError as reason:
        pytest.skip(str(reason))
    found.make("Secret", secret_name(found), stringData={
        name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    })
    yield found
    Leftovers(found).remove()


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Callable[[], Release]:
    """Return a function that returns the release that most cases use, installed at the first call."""
    made: list[Any] = []

    def installed() -> Release:
        if not made:
            try:
                made.append(Release(cluster, "main").install())
            except AssertionError as error:
                made.append(error)
                raise
        if isinstance(made[0], AssertionError):
            pytest.skip("the release could not be installed")
        found: Release = made[0]
        return found

    return installed


@pytest.fixture(scope="session")
def first(release: Callable[[], Release]) -> Run:
    """The first run of the release, which has ended well."""
    run = release().submit()
    run.succeed()
    return run
