"""Checks of what a namespace admits: its quotas, and a pod like those of runs, in a dry run of the API server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.cluster_stages import StageSettings
from thinksafe.config.pods import pod_labels
from thinksafe.config.stage_table import STAGES
from thinksafe.doctor.checks import Finding, ok, warning
from thinksafe.doctor.looking import LOOK
from thinksafe.errors import StageError
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.kube.refusals import ForbiddenError

LIMIT_RANGE = (
    "{apiVersion: v1, kind: LimitRange, metadata: {name: thinksafe-defaults}, spec: {limits: [{type: Container, "
    "default: {cpu: 500m, memory: 512Mi}, defaultRequest: {cpu: 100m, memory: 128Mi}}]}}"
)
"""Manifest of a LimitRange that gives Argo's containers requests and limits."""
_DEMANDED = {
    "cpu": "requests.cpu", "memory": "requests.memory",
    **{name: name for name in ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")},
}
"""What a container must set if a quota has a resource."""
_CONFINED: Object = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    "runAsNonRoot": True,
}


def demands(api: KubernetesClient) -> tuple[set[str], set[str]]:
    """Return what quotas demand of every container of the namespace, and what its limit ranges fill in.

    Both are names such as ``limits.cpu``.

    Raises:
        ForbiddenError: this account may not list them.
        StageError: the API refused, or did not answer.
    """
    hard = {name for quota in api.find("ResourceQuota") for name in quota["spec"].get("hard") or {}}
    filled: set[str] = set()
    for one in api.find("LimitRange"):
        for item in one["spec"].get("limits") or []:
            if item.get("type") == "Container":
                filled |= _names(item.get("defaultRequest") or {}, item.get("default") or {})
    return {_DEMANDED[name] for name in hard & _DEMANDED.keys()}, filled


def quota_findings(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    """Yield what a quota on cpu or memory refuses; nothing if there is none."""
    try:
        demanded, filled = demands(api)
    except ForbiddenError:
        yield warning("quota", f"No permission to list the quotas and limit ranges of {api.namespace}.", LOOK)
        return
    if missing := sorted(demanded - filled):
        yield warning(
            "quota", f"A quota of {api.namespace} demands {', '.join(missing)} of every container, and no LimitRange "
            "fills that in: it refuses every run, because Argo's containers init and wait have none.",
            f"kubectl -n {api.namespace} apply -f - <<< '{LIMIT_RANGE}'",
        )
    elif demanded:
        yield ok("quota", f"A LimitRange of {api.namespace} fills in what its quota demands.")
    bare = [stage for stage in STAGES if demanded - _set_by(cluster.stage(stage))]
    if bare:
        which = "No stage sets" if len(bare) == len(STAGES) else f"The stages {', '.join(bare)} do not set"
        yield warning(
            "quota", f"{which} {', '.join(sorted(demanded))}.",
            "Set cluster.stages.default.requests and limits: the defaults of a LimitRange are for small containers.",
        )


def _set_by(settings: StageSettings) -> set[str]:
    """Return what the containers of a stage set."""
    return _names(**_resources(settings))


def _names(requests: Iterable[str], limits: Iterable[str]) -> set[str]:
    """Return resources by the names that quotas use; a limit is a request, too."""
    return {f"limits.{name}" for name in limits} | {f"requests.{name}" for name in {*requests, *limits}}


def _resources(settings: StageSettings) -> dict[str, dict[str, Any]]:
    return {
        name: amounts.model_dump(exclude_none=True) if amounts is not None else {}
        for name, amounts in (("requests", settings.requests), ("limits", settings.limits))
    }


def trial_findings(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    """Yield whether the namespace admits a pod like those of runs; nothing if this account may not create pods.

    Raises:
        StageError: a policy of the cluster refuses it.
    """
    with suppress(ForbiddenError):
        try:
            api.create(run_pod(cluster), dry_run=True)
        except StageError as error:
            if "exceeded quota" not in error.problem:
                raise
            yield warning("admission", error.problem, "Raise the quota, or let runs wait until it has room.")
        else:
            yield ok("admission", f"{cluster.namespace} admits pods of runs (tried without creating one).")


def run_pod(cluster: ClusterSettings) -> Object:
    """Return the pod of the stage ``plan`` as Kubeflow Pipelines 2.17 and Argo make it, as policies see it."""
    settings, user = cluster.stage("plan"), cluster.security_context
    image = cluster.image("plan")
    argo = {"image": image, "securityContext": _CONFINED}
    main = {
        "name": "main", "image": image, "resources": _resources(settings),
        "securityContext": {**_CONFINED, "runAsUser": user.run_as_user, "runAsGroup": user.run_as_group},
    }
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "thinksafe-doctor-trial", "namespace": cluster.namespace,
            "labels": pod_labels(cluster, settings, "plan"), "annotations": dict(cluster.annotations),
        },
        "spec": {
            "serviceAccountName": cluster.service_account, "restartPolicy": "Never",
            "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
            "securityContext": {"seccompProfile": _CONFINED["seccompProfile"]},
            "initContainers": [{"name": "init", **argo}], "containers": [{"name": "wait", **argo}, main],
        },
    }
