"""Checks for training on several nodes: Kubeflow Trainer, its runtime, the permissions of the pods of runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding, failed, ok, warning
from thinksafe.doctor.rights import account_finding, job_rights
from thinksafe.kube.client import KubernetesClient
from thinksafe.kube.refusals import ForbiddenError
from thinksafe.kube.resources import RESOURCES

CHECK, NODE = "train job", "node"
GROUP, VERSION = RESOURCES["TrainJob"].group, RESOURCES["TrainJob"].version


def train_job_findings(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    """Yield the findings on Kubeflow Trainer; none if no TrainJob is configured."""
    if not cluster.train_job.enabled:
        return
    try:
        kinds = api.plurals(GROUP, VERSION)
    except ForbiddenError:
        kinds = {"trainjobs"}  # the next check shows it
    if "trainjobs" not in kinds:
        yield failed(
            CHECK, f"The cluster has no TrainJobs ({GROUP}/{VERSION}).",
            "Install Kubeflow Trainer 2.2 or later, or set cluster.train_job.enabled: false and training.nodes: 1.",
        )
        return
    yield _runtime(cluster, api)
    yield account_finding(
        CHECK, api, cluster.service_account, job_rights("TrainJob"), "start and watch TrainJobs", home=cluster.namespace
    )


def _runtime(cluster: ClusterSettings, api: KubernetesClient) -> Finding:
    runtime = cluster.train_job.runtime
    named = f"{runtime.kind} {runtime.name}"
    try:
        found = api.get(runtime.kind, runtime.name)
    except ForbiddenError:
        return warning(
            CHECK, f"No permission to read the {named}.", f"Ask an administrator to run: kubectl get {named.lower()}"
        )
    if found is None:
        where = f" in {cluster.namespace}" if RESOURCES[runtime.kind].namespaced else ""
        return failed(
            CHECK, f"There is no {named}{where}.",
            "Install the runtimes of Kubeflow Trainer, or name an existing one in cluster.train_job.runtime.",
        )
    spec: dict[str, Any] = found.get("spec") or {}
    if (spec.get("mlPolicy") or {}).get("torch") is None:
        return failed(
            CHECK, f"The {named} has no torch policy, which tells each node which one it is.",
            "Name a runtime with spec.mlPolicy.torch in cluster.train_job.runtime.",
        )
    jobs = ((spec.get("template") or {}).get("spec") or {}).get("replicatedJobs") or []
    pods = [job["template"]["spec"]["template"]["spec"] for job in jobs if job.get("name") == NODE]
    if not any(container.get("name") == NODE for pod in pods for container in pod.get("containers") or []):
        return failed(
            CHECK, f"The {named} has no job {NODE!r} with a container {NODE!r}.",
            "Name a runtime built like torch-distributed in cluster.train_job.runtime.",
        )
    return ok(CHECK, f"{named} exists.")
