"""Checks of objects in Kubernetes: secrets, accounts, nodes, storage, permissions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.pods import secret_variables
from thinksafe.config.stage_table import STAGES
from thinksafe.doctor import start
from thinksafe.doctor.admission import quota_findings, trial_findings
from thinksafe.doctor.argo import retry_findings
from thinksafe.doctor.checks import Check, Finding, failed, ok, warning
from thinksafe.doctor.images import image_findings, pull_secret_findings
from thinksafe.doctor.jobs import job_findings
from thinksafe.doctor.looking import LOOK, keyed, looked_up
from thinksafe.doctor.placement import reasons
from thinksafe.doctor.rights import may
from thinksafe.doctor.trainer import train_job_findings
from thinksafe.kube.client import KubernetesClient
from thinksafe.kube.refusals import ForbiddenError


def kubernetes_checks(cluster: ClusterSettings, api: KubernetesClient) -> list[Check]:
    """Return the checks of a cluster's objects."""
    return [
        ("rights", lambda: _rights(cluster, api)),
        ("service account", lambda: _service_account(cluster, api)),
        ("secrets", lambda: _secrets(cluster, api)),
        ("config maps", lambda: _config_maps(cluster, api)),
        ("image pull", lambda: pull_secret_findings(cluster, api)),
        ("images", lambda: image_findings({cluster.image(stage) for stage in STAGES}, api)),
        ("quota", lambda: quota_findings(cluster, api)),
        ("admission", lambda: trial_findings(cluster, api)),
        ("nodes", lambda: _nodes(cluster, api)),
        ("storage", lambda: (*_storage(cluster, api), *_volume_of_mlflow(cluster, api))),
        ("classes", lambda: _classes(cluster, api)),
        ("jobs", lambda: job_findings(cluster, api)),
        ("train job", lambda: train_job_findings(cluster, api)),
        ("retries", lambda: retry_findings(cluster, api)),
        (start.CHECK, lambda: start.start_findings(api)),
    ]


def _rights(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    if not cluster.kfp.multi_user:
        return
    kinds = {"pipelines": "create list", "experiments": "create list", "runs": "create list",
             "jobs": "create list disable delete"}
    needed = [(verb, kind) for kind, verbs in kinds.items() for verb in verbs.split()]
    missing = [
        f"{verb} {kind}" for verb, kind in needed
        if not may(api, verb, kind, "pipelines.kubeflow.org", cluster.namespace)
    ]
    if missing:
        yield failed(
            "rights", f"No permission to {', '.join(missing)} in {cluster.namespace}.",
            f"Bind the role kubeflow-pipelines-edit to this account in {cluster.namespace}.",
        )
    else:
        yield ok("rights", "This account has the rights that publishing needs.")


def _accounts(cluster: ClusterSettings) -> list[str]:
    """Return the service accounts of pods: of runs, and of the pods of jobs if they have a separate one."""
    return list(dict.fromkeys(filter(None, (cluster.service_account, cluster.jobs.service_account))))


def _service_account(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    for name in _accounts(cluster):
        _, trouble = looked_up("service account", "ServiceAccount", name, api)
        yield trouble or ok("service account", f"{name} exists.")


def _secrets(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    yield from keyed("secrets", "Secret", _secret_keys(cluster), api)


def _secret_keys(cluster: ClusterSettings) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for stage in STAGES:
        for secret, key, _ in secret_variables(cluster, stage):
            wanted.setdefault(secret, set()).add(key)
    return wanted


def _config_maps(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    yield from keyed("config maps", "ConfigMap", _config_map_keys(cluster), api)


def _config_map_keys(cluster: ClusterSettings) -> dict[str, set[str]]:
    wanted = {source.name: set(source.keys) for source in cluster.config_maps}
    if cluster.certificates.config_map:
        wanted.setdefault(cluster.certificates.config_map, set()).add(cluster.certificates.key)
    return wanted


def _nodes(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    try:
        nodes = api.find("Node")
    except ForbiddenError:
        yield warning("nodes", "No permission to list nodes, to see where pods fit.", "Ask an administrator.")
        return
    for stage in ("sample", "judge", "train"):
        settings = cluster.stage(stage)
        fitting, others = reasons(nodes, settings)
        gpu = settings.gpu
        what = f"{gpu.count} {gpu.type}" if gpu is not None and gpu.count else "no GPU"
        if fitting:
            yield ok("nodes", f"{stage} ({what}) fits {fitting} of {len(nodes)} nodes.")
        else:
            yield failed(
                "nodes", f"{stage} ({what}) fits none of {len(nodes)} nodes: {others or 'there are none'}.",
                f"Correct cluster.stages.{stage} (gpu, node_selector, tolerations, affinity), or add such a node.",
            )


def _storage(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    cache = cluster.model_cache
    if cache.kind == "claim":
        claim, trouble = looked_up("storage", "PersistentVolumeClaim", cache.claim, api)
        modes = (claim.get("spec") or {}).get("accessModes") or []
        if trouble is not None:
            yield trouble
        elif "ReadWriteMany" in modes:
            yield ok("storage", f"Many nodes can mount {cache.claim}.")
        else:
            yield warning(
                "storage", f"Only one node at a time can mount the claim {cache.claim} ({', '.join(modes)}).",
                "Use a claim with ReadWriteMany, or keep all pods on one node with a node selector.",
            )
    elif cache.kind == "ephemeral":
        try:
            classes = {
                item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in api.find("StorageClass")
            }
        except ForbiddenError:
            yield warning("storage", "No permission to list storage classes.", LOOK)
            return
        default = [name for name, notes in classes.items()
                   if notes.get("storageclass.kubernetes.io/is-default-class") == "true"]
        if cache.storage_class and cache.storage_class not in classes:
            yield failed(
                "storage", f"There is no storage class {cache.storage_class}.",
                f"Set cluster.model_cache.storage_class to one of: {', '.join(sorted(classes)) or '(none)'}.",
            )
        elif not cache.storage_class and not default:
            yield failed(
                "storage", "The cluster has no default storage class.",
                f"Set cluster.model_cache.storage_class to one of: {', '.join(sorted(classes)) or '(none)'}.",
            )
        else:
            yield ok("storage", f"Storage class {cache.storage_class or default[0]}.")


def _volume_of_mlflow(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    """Yield what keeps the chart's bundled MLflow from starting: its claim has the name of its service."""
    name, _, rest = (urlsplit(cluster.mlflow.uri).hostname or "").partition(".")
    if rest.split(".")[0] != cluster.namespace:
        return
    with suppress(ForbiddenError):
        claim = api.get("PersistentVolumeClaim", name) or {}
        if (claim.get("status") or {}).get("phase") != "Pending":
            return
        if claim["spec"].get("storageClassName"):
            yield warning(
                "storage", f"The claim {name} of the bundled MLflow is Pending.",
                f"`kubectl -n {cluster.namespace} describe persistentvolumeclaim {name}` says why.",
            )
        else:
            yield failed(
                "storage", f"The claim {name} of the bundled MLflow has no storage class, because the cluster has no "
                "default one: the server does not start.",
                "Mark a storage class as the default, or set the chart's value mlflow.persistence.storageClass.",
            )


def _classes(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    for kind, field in (("PriorityClass", "priority_class"), ("RuntimeClass", "runtime_class")):
        names = {value for stage in STAGES if (value := getattr(cluster.stage(stage), field))}
        for name in sorted(names):
            _, trouble = looked_up("classes", kind, name, api)
            yield trouble or ok("classes", f"{kind} {name} exists.")
