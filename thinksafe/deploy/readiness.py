"""Wait until a rollout is ready: judge the object's status and watch it, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thinksafe.config.deploy import DeploySettings
from thinksafe.deploy.manifests import KINDS, pod_selector
from thinksafe.errors import StageError
from thinksafe.kube.client import DroppedError, GoneError, KubernetesClient, Object
from thinksafe.models.references import FOLDERS

PAUSE_SECONDS = 1.0
"""Seconds before a dropped watch is resumed."""


@dataclass(frozen=True)
class Readiness:
    """The progress of a rollout."""

    ready: bool
    reason: str
    failed: bool = False
    """Waiting will not make it ready."""
    url: str = ""
    """Address of the model according to the cluster; empty for a Deployment."""


def readiness(found: Object | None) -> Readiness:
    """Return the progress of an object from its status. A status of an older generation of the spec does not count."""
    if found is None or found.get("deleted"):
        return Readiness(False, "the object does not exist", failed=bool(found))
    status, spec = found.get("status") or {}, found.get("spec") or {}
    generation = found.get("metadata", {}).get("generation", 0)
    # an InferenceService shows the counter of its Deployment there (kserve/kserve#6081); its pods are checked instead
    if found.get("kind") != "InferenceService" and status.get("observedGeneration", 0) < generation:
        return Readiness(False, "its controller has not seen the change yet")
    conditions = {one.get("type"): one for one in status.get("conditions") or []}
    if found.get("kind") == "Deployment":
        return _deployment(spec, status, conditions)
    ready = conditions.get("Ready", {})
    url = _url(status)
    if ready.get("status") == "True":
        return Readiness(True, "ready", url=url)
    return Readiness(False, _said(ready) or "it has no condition Ready yet", url=url)


def _deployment(spec: Object, status: Object, conditions: dict[Any, Object]) -> Readiness:
    wanted = spec.get("replicas", 1)
    progressing = conditions.get("Progressing", {})
    if progressing.get("status") == "False":
        return Readiness(False, _said(progressing), failed=True)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    total = status.get("replicas", 0)
    if updated >= wanted and available >= wanted and total == updated:
        return Readiness(True, "ready")
    return Readiness(False, f"{updated} of {wanted} pods are new, {available} available, {total - updated} old left")


def _said(condition: Object) -> str:
    return ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))[:300]


def _url(status: Object) -> str:
    addresses = [status.get("address") or {}, *(status.get("addresses") or []), status]
    return next((str(found["url"]) for found in addresses if found.get("url")), "")


def wait_until_ready(
    cluster: KubernetesClient, settings: DeploySettings, digest: str, *, seconds: float | None = None
) -> Readiness:
    """Watch the rollout until it is ready, cannot become ready, or the deadline has passed.

    A dropped watch resumes where it was; if its version is gone, the object is read again. Only the deadline or a
    refusal ends the wait early. KServe's objects stay ready while their pods are replaced (kserve/kserve#4626), so
    there the pods themselves must have the adapter.

    Args:
        cluster: Client of the cluster.
        settings: The section ``deploy``.
        digest: Digest of the adapter that the pods must have.
        seconds: Deadline; ``readiness_seconds`` by default.

    Raises:
        StageError: the API refused, or did not answer when the object was read.
    """
    limit = settings.readiness_seconds if seconds is None else seconds
    kind, end = KINDS[settings.kind], time.monotonic() + limit
    state, version = Readiness(False, "its state is unknown"), ""
    while not (state.ready or state.failed):
        if (left := end - time.monotonic()) <= 0:
            state = Readiness(False, f"not ready after {limit:g} s: {state.reason}", failed=True)
            break
        try:
            if not version:
                found, version = cluster.look(kind, settings.name)
                state = readiness(found)
                changes: Iterator[Object] = iter(())
            else:
                changes = cluster.watch(kind, settings.name, version, left)
            for change in changes:
                version = change.get("bookmark") or change.get("metadata", {}).get("resourceVersion", version)
                if "bookmark" in change:
                    continue
                state = readiness(change)
                if state.ready or state.failed or time.monotonic() > end:
                    break
            if state.ready and settings.kind != "deployment" and (left_over := _others(cluster, settings, digest)):
                state, version = Readiness(False, left_over, url=state.url), ""
                time.sleep(min(PAUSE_SECONDS, max(0.0, end - time.monotonic())))
        except GoneError:
            version = ""
        except DroppedError:
            time.sleep(min(PAUSE_SECONDS, max(0.0, end - time.monotonic())))
    if state.ready:
        return state
    return Readiness(False, "; ".join([state.reason, *_pod_problems(cluster, settings)]), failed=True, url=state.url)


def _others(cluster: KubernetesClient, settings: DeploySettings, digest: str) -> str:
    """Return why not all pods are ready with what is to be served; empty if they are."""
    pods = [pod for pod in cluster.find("Pod", pod_selector(settings)) if not pod["metadata"].get("deletionTimestamp")]
    said = [(pod, str(pod.get("spec", {}).get("containers"))) for pod in pods]
    serving = [(pod, text) for pod, text in said if any(f"/{folder}/" in text for folder in FOLDERS.values())]
    right = [pod for pod, text in serving if any(f"/{folder}/{digest}" in text for folder in FOLDERS.values())]
    ready = [
        pod for pod in right
        if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or [])
    ]
    if right and len(ready) == len(serving):
        return ""
    return f"{len(right)} of {len(serving)} pods have the new model, {len(ready)} of these are ready"


def _pod_problems(cluster: KubernetesClient, settings: DeploySettings) -> list[str]:
    """Return why pods do not run, as far as it is known: containers that wait or failed."""
    try:
        pods = cluster.find("Pod", pod_selector(settings))
    except StageError:
        return []  # the right to list pods is optional
    found: dict[str, None] = {}
    for pod in pods:
        status = pod.get("status") or {}
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            state = container.get("state") or {}
            reason = (state.get("waiting") or {}).get("reason") or ""
            ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
            if reason in ("", "PodInitializing", "ContainerCreating") and not ended.get("exitCode"):
                continue
            code = f", exit code {ended['exitCode']}" if ended.get("exitCode") else ""
            found[f"container {container.get('name')}: {reason or ended.get('reason', 'ended')}{code}"] = None
        for condition in status.get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                found[f"not scheduled: {_said(condition)}"] = None
    return list(found)[:5]
