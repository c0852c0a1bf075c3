"""A server of Kubeflow Pipelines, and its compiler, called once for each document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kfp_server import KfpServer, kfp_server
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.config.cluster import ClusterSettings
from thinksafe_pipelines.commands import COMPARE, compile_pipeline
from thinksafe_pipelines.kfp import publishing

ANY = "{name: any}"
"""Stands for every document in what is compiled; none of them has several rounds."""


@pytest.fixture(scope="module")
def compiled_once() -> Iterator[None]:
    """The real compiler, once for each document: it takes longer than all else here."""
    kept: dict[Any, bytes] = {}

    def compile_once(
        name: str, text: str, overrides: list[str], path: Path, *, cluster: ClusterSettings, author: str = ""
    ) -> Path:
        if name == COMPARE:  # its shape follows from the document
            return compile_pipeline(name, text, overrides, path, cluster=cluster)
        key = (name, cluster.digest, tuple(overrides), author)
        if key not in kept:
            kept[key] = compile_pipeline(name, ANY, overrides, path, cluster=cluster, author=author).read_bytes()
        path.write_bytes(kept[key].replace(f"'{ANY}'".encode(), json.dumps(text).encode()))
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "compile_pipeline", compile_once)
        yield


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with kfp_server() as running:
        yield running


@pytest.fixture
def kubernetes(server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    """A Kubernetes API behind whose service proxy the server is, and a kubeconfig for it."""
    with kube_api(tmp_path, monkeypatch) as api:
        api.contents.services["kubeflow/ml-pipeline"] = server.address
        yield api
