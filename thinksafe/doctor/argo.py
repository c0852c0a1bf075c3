"""What Argo, which runs the tasks of Kubeflow Pipelines, starts again by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding, ok, warning
from thinksafe.kube.client import KubernetesClient
from thinksafe.kube.refusals import ForbiddenError

CHECK, NAME = "retries", "workflow-controller-configmap"
DOES = {
    "Always": "also retries pods that failed, and whole sub-pipelines",
    "OnTransientError": "replaces a lost pod only if the message matches its TRANSIENT_ERROR_PATTERN",
}
"""What Argo does by a policy; by any other, and without one, it retries pods that failed."""


def retry_findings(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    """Yield what Argo's ConfigMap means for retries; nothing where it cannot be read or is not there."""
    try:
        found = api.beside(cluster.kfp.namespace).get("ConfigMap", NAME)
    except ForbiddenError:
        return
    if found is None:
        return
    policy = _policy(found.get("data") or {})
    if policy == "OnError":
        yield ok(CHECK, f"Argo replaces lost pods only ({policy}); a stage that fails is started again in its pod.")
        return
    says = f"has retryPolicy {policy}" if policy else "names no retryPolicy"
    does = DOES.get(policy, "retries pods that failed, and does not replace lost ones")
    yield warning(
        CHECK, f"{cluster.kfp.namespace}/{NAME} {says}: Argo {does}.",
        "Set workflowDefaults.spec.templateDefaults.retryStrategy to {limit: 2, retryPolicy: OnError} there.",
    )


def _policy(data: dict[str, str]) -> str:
    """Return the default retry policy of templates, "" if there is none or the text cannot be read."""
    import yaml

    try:
        # the controller's settings are keys of their own, or all in one
        value: Any = yaml.safe_load(data.get("workflowDefaults") or "") or (
            yaml.safe_load(data.get("config") or "") or {}
        ).get("workflowDefaults")
        for key in ("spec", "templateDefaults", "retryStrategy", "retryPolicy"):
            value = (value or {}).get(key)
    except (yaml.YAMLError, AttributeError):
        return ""
    return str(value or "")
