"""A server that answers as the Kubernetes API does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_contents import KubeContents
from kube_http import kube_api


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeContents]:
    with kube_api(tmp_path, monkeypatch) as running:
        yield running.contents
