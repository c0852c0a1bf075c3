"""Who hears of a rollout: Kubernetes events on the served object, and a webhook. Neither can fail a rollout."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from thinksafe.config.deploy import DeploySettings
from thinksafe.deploy.cluster import MANAGER, RESOURCES, Cluster
from thinksafe.deploy.manifests import KINDS
from thinksafe.errors import StageError

REASONS = {
    "verified": "RolloutVerified", "rolled back": "RolloutRolledBack", "withdrawn": "RolloutWithdrawn",
    "superseded": "RolloutSuperseded", "served": "RolloutServed",
}
WEBHOOK_SECONDS = 10.0


def event(cluster: Cluster, settings: DeploySettings, verdict: str, message: str) -> str:
    """Write an event about the served object and return what went wrong; empty when nothing did."""
    kind = KINDS[settings.kind]
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        found = cluster.read(kind, settings.name) or {}
        group, version, _ = RESOURCES[kind]
        cluster.create_event({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"generateName": f"{settings.name}-", "namespace": settings.namespace},
            "involvedObject": {
                "apiVersion": f"{group}/{version}", "kind": kind, "name": settings.name,
                "namespace": settings.namespace, "uid": found.get("metadata", {}).get("uid", ""),
            },
            "reason": REASONS[verdict], "message": message[:1000],
            "type": "Warning" if verdict in ("rolled back", "withdrawn") else "Normal",
            "source": {"component": MANAGER}, "reportingComponent": MANAGER, "reportingInstance": MANAGER,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        })
    except StageError as error:
        return f"No event was written: {error.problem} {error.action}"
    return ""


def webhook(settings: DeploySettings, message: dict[str, Any]) -> str:
    """Post a message to the configured address and return what went wrong, without the address, which may be secret."""
    import urllib3

    if not settings.webhook_env:
        return ""
    address = os.environ.get(settings.webhook_env, "").strip()
    if not address.startswith(("http://", "https://")):
        return f"The webhook was not called: {settings.webhook_env} holds no http address."
    try:
        answer = urllib3.request(
            "POST", address, body=json.dumps(message), headers={"Content-Type": "application/json"},
            timeout=WEBHOOK_SECONDS, retries=urllib3.Retry(2, backoff_factor=0.5),
        )
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return f"The webhook was not reached ({type(error).__name__})."
    return "" if answer.status < 300 else f"The webhook answered HTTP {answer.status}."
