"""Rollouts to a Deployment: one that never gets ready is withdrawn, one that somebody else took over is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from accepting.cluster import Cluster
from accepting.release import Release

READY_SECONDS = 45


@pytest.fixture(scope="module")
def serving(cluster: Cluster) -> Release:
    """A release that serves its champion with an image in which there is no vLLM."""
    name = f"accept-{cluster.session}-stuck"
    return Release(cluster, "rollout", config={"deploy": {
        "kind": "deployment", "namespace": cluster.settings.namespace, "name": name, "image": cluster.settings.cpu,
        "model": "/cache/none", "cache_claim": f"{name}-none", "gpus": 0, "cpu": "100m", "memory": "256Mi",
        "readiness_seconds": READY_SECONDS, "labels": cluster.labels(), "base_url": f"http://{name}:8000/v1",
    }}).install()


def served(cluster: Cluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("deployment", name)
    return found


def test_rollout_that_never_gets_ready(cluster: Cluster, serving: Release) -> None:
    """It is withdrawn after its time: no pods, an entry in the ledger, an event, and the reason in the report."""
    name = f"accept-{cluster.session}-stuck"
    run = serving.submit()
    run.succeed()
    assert run.records()["deploy"]["verdict"] == "withdrawn"
    assert [entry["action"] for entry in run.ledger()] == ["promote", "withdraw"]
    assert served(cluster, name)["spec"]["replicas"] == 0
    events = cluster.get("events")
    assert [one for one in events if one["involvedObject"].get("name") == name and "Rollout" in one["reason"]]
    assert b"withdrawn" in run.report("report.html").lower()


def test_rollout_taken_over(cluster: Cluster, serving: Release) -> None:
    """Fields that another manager owns are not taken: the stage fails, and names owner and field."""
    name = f"accept-{cluster.session}-taken"
    path = cluster.folder / "taken.yaml"
    labels = {"app": name}
    path.write_text(json.dumps({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": cluster.labels()},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [
                {"name": "other", "image": cluster.settings.cpu}
            ]}},
        },
    }))
    applied = cluster.kubectl("apply", "--server-side", "--field-manager", "argo", "--validate=false", "-f", str(path))
    assert applied.returncode == 0, applied.stderr
    run = serving.submit(store="taken", deploy__name=name)
    assert run.wait() == "FAILED"
    assert "argo" in run.words()
    assert served(cluster, name)["spec"]["replicas"] == 0
