"""Calls of publish against a KFP server of the tests."""

from __future__ import annotations

from typing import Any

from cluster_configs import cluster_document
from kfp_server import KfpServer

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe_pipelines.kfp import publishing


def document(server: KfpServer, name: str = "plain", kfp: dict[str, Any] | None = None, **changed: Any) -> str:
    return cluster_document(name, kfp={"host": server.address, **(kfp or {})}, **changed)


def cluster_of(text: str) -> ClusterSettings:
    cluster = load_config(text).cluster
    assert cluster is not None
    return cluster


def publish(server: KfpServer, **changed: Any) -> publishing.Published:
    text = document(server, **changed)
    return publishing.publish(cluster_of(text), text, [])
