"""Kubernetes events on the served object: they report the outcome of a rollout and cannot fail it."""

from __future__ import annotations

from datetime import UTC, datetime

from thinksafe.config.deploy import DeploySettings
from thinksafe.deploy.manifests import KINDS
from thinksafe.errors import StageError
from thinksafe.kube.client import MANAGER, KubernetesClient
from thinksafe.kube.resources import RESOURCES

REASONS = {
    "verified": "RolloutVerified", "rolled back": "RolloutRolledBack", "withdrawn": "RolloutWithdrawn",
    "superseded": "RolloutSuperseded", "served": "RolloutServed",
}


def event(cluster: KubernetesClient, settings: DeploySettings, verdict: str, message: str) -> str:
    """Write an event about the served object and return what went wrong; empty if nothing did."""
    kind = KINDS[settings.kind]
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        found, _ = cluster.look(kind, settings.name)
        cluster.post("Event", {
            "metadata": {"generateName": f"{settings.name}-", "namespace": settings.namespace},
            "involvedObject": {
                "apiVersion": RESOURCES[kind].api_version, "kind": kind, "name": settings.name,
                "namespace": settings.namespace, "uid": (found or {}).get("metadata", {}).get("uid", ""),
            },
            "reason": REASONS[verdict], "message": message[:1000],
            "type": "Warning" if verdict in ("rolled back", "withdrawn") else "Normal",
            "source": {"component": MANAGER}, "reportingComponent": MANAGER, "reportingInstance": MANAGER,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        })
    except StageError as error:
        return f"No event was written: {error.problem} {error.action}"
    return ""
