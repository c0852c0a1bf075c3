"""Checks from inside of the cluster, in pods like those of runs: their images start, and they reach the services.

One pod for each image, with the account, the Secrets and the placement of a stage that uses it, and without GPUs.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress

from thinksafe.config.cluster import ClusterSettings, ModelCacheSettings
from thinksafe.config.stage_table import STAGES
from thinksafe.doctor.checks import Finding, failed, ok, warning
from thinksafe.errors import StageError
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.kube.pod_template import pod_metadata, pod_spec, resources, variables
from thinksafe.kube.pods import phase_of, refused, unstarted
from thinksafe.text import clean

CHECK = "pods"
LIMIT_S = 300.0
"""How long all pods together may take, images included, in seconds."""
REFUSED_S = 20.0
"""How long a container that cannot be started is waited for, in seconds."""
PAUSE_S = 1.0
LABEL = "thinksafe/doctor"
"""Label of these pods; its value is drawn for each call."""
CONTAINER = "doctor"
LINES = 500
FIRST = "plan"
"""The stage whose pod checks the services."""


def services_in_pods(cluster: ClusterSettings) -> set[str]:
    """Return the checks of services that the pod does; Kubeflow's API only if pods reach it without a token."""
    kfp = cluster.kfp
    return {"mlflow", "bucket", *(["kubeflow"] if kfp.access == "in-cluster" and not kfp.multi_user else [])}


def probe_findings(cluster: ClusterSettings, arguments: list[str], api: KubernetesClient) -> Iterator[Finding]:
    """Start the pods, yield what they found, and delete them.

    Args:
        cluster: The settings.
        arguments: Arguments of ``thinksafe`` that check the services and print JSON.
        api: Client of the namespace of runs.

    Raises:
        StageError: this account may not do so, or a policy refuses such pods.
    """
    token = secrets.token_hex(4)
    stages = {cluster.image(stage): stage for stage in reversed(STAGES)}  # the first stage of each image
    waiting = {f"thinksafe-doctor-{token}-{stage}": stage for stage in stages.values()}
    names = list(waiting)
    try:
        for name, stage in waiting.items():
            api.create(_pod(cluster, stage, name, token, arguments if stage == FIRST else ["--version"]))
        end, refusals = time.monotonic() + LIMIT_S, dict.fromkeys(names, 0.0)
        while waiting:
            late = time.monotonic() > end
            for pod in api.find("Pod", {LABEL: token}):
                name = pod["metadata"]["name"]
                if name not in waiting:
                    continue
                if refused(pod):
                    refusals[name] = refusals[name] or time.monotonic()
                stuck = refusals[name] and time.monotonic() - refusals[name] >= REFUSED_S
                if phase_of(pod) in ("Succeeded", "Failed"):
                    yield from _ended(cluster, waiting.pop(name), pod, api)
                elif stuck or late:
                    yield _unended(waiting.pop(name), pod)
            if late:
                break
            time.sleep(PAUSE_S if waiting else 0)
        for stage in waiting.values():  # somebody deleted them
            yield warning(CHECK, f"The pod of the stage {stage} is gone.", "Start the doctor again.")
    finally:
        for name in names:
            with suppress(StageError):
                api.delete("Pod", name)


def _pod(cluster: ClusterSettings, stage: str, name: str, token: str, arguments: list[str]) -> Object:
    bare = cluster.model_copy(update={"model_cache": ModelCacheSettings()})  # no volume is made for it
    metadata = pod_metadata(bare, stage)
    container = {
        "name": CONTAINER, "image": bare.image(stage), "imagePullPolicy": bare.image_pull_policy,
        "command": ["thinksafe"],
        "args": [argument.replace("$", "$$") for argument in arguments],  # Kubernetes expands $(...)
        "env": variables(bare, stage),
        "resources": resources(bare.stage("default").model_copy(update={"gpu": None})),
    }
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            **metadata, "name": name, "namespace": bare.namespace, "labels": {**metadata["labels"], LABEL: token},
        },
        "spec": {
            **pod_spec(bare, stage, container), "serviceAccountName": bare.service_account, "restartPolicy": "Never",
            "activeDeadlineSeconds": 2 * int(LIMIT_S), "automountServiceAccountToken": False,
        },
    }


def _ended(cluster: ClusterSettings, stage: str, pod: Object, api: KubernetesClient) -> Iterator[Finding]:
    """Yield what a pod that has ended found."""
    name, succeeded = pod["metadata"]["name"], phase_of(pod) == "Succeeded"
    log = api.logs(name, CONTAINER, LINES)
    found = _parsed(log) if stage == FIRST else []
    if succeeded or found:
        yield ok(CHECK, f"{cluster.image(stage)} starts (stage {stage}).")
        yield from found
    if not found and (stage == FIRST or not succeeded):
        last = next((line for line in reversed(log.splitlines()) if line.strip()), "its log is empty")
        yield failed(
            CHECK, f"The pod of the stage {stage} failed: {clean(last, 300)}",
            "Check that the image is one of thinksafe, of this version.",
        )


def _parsed(log: str) -> list[Finding]:
    """Return the findings in the log of a pod, after what libraries wrote; none if it has no findings."""
    lines = log.splitlines()
    with suppress(ValueError, TypeError):
        return [Finding(**item) for item in json.loads("\n".join(lines[lines.index("["):]))]
    return []


def _unended(stage: str, pod: Object) -> Finding:
    error = unstarted(pod, stage, 0.0 if refused(pod) else LIMIT_S)
    if error is not None:
        return failed(CHECK, error.problem, error.action)
    return warning(
        CHECK, f"The pod of the stage {stage} has not ended after {LIMIT_S:.0f} s; it may still pull its image.",
        "Start the doctor again once the image is on a node.",
    )
