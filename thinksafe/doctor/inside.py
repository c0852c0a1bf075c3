"""Addresses that only pods reach: the names of the cluster's own DNS."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from thinksafe.doctor.checks import Finding, warning


def only_inside(address: str, namespaces: Collection[str]) -> bool:
    """Return whether an address can be reached from pods, but not from here.

    Args:
        address: An ``http(s)://`` address; empty for a public service.
        namespaces: Namespaces that a host name of two parts may end with, such as ``minio.kubeflow``.
    """
    host = urlsplit(address).hostname
    if not host or host == "localhost" or ":" in host or "KUBERNETES_SERVICE_HOST" in os.environ:
        return False
    labels = host.rstrip(".").split(".")
    return len(labels) == 1 or labels[2:3] == ["svc"] or (len(labels) == 2 and labels[1] in namespaces)


def not_checked(check: str, address: str, action: str) -> Iterator[Finding]:
    """Yield the finding on an address that only pods reach."""
    yield warning(
        check, f"{address} is reachable only from inside the cluster and was not checked here.",
        f"`thinksafe doctor --in-cluster` and `helm test RELEASE` check it from a pod.{action and f' {action}'}",
    )
