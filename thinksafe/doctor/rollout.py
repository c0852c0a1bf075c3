"""Checks of the namespace where the champion is served: rights, Secrets, claim, quota, images."""

from __future__ import annotations

from collections.abc import Iterator

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.deploy import DeploySettings
from thinksafe.config.pods import s3_variables
from thinksafe.deploy.manifests import KINDS
from thinksafe.doctor.admission import demands
from thinksafe.doctor.checks import Check, Finding, failed, ok, warning
from thinksafe.doctor.images import image_findings
from thinksafe.doctor.looking import LOOK, keyed, looked_up
from thinksafe.doctor.rights import Rights, account_finding
from thinksafe.kube.client import KubernetesClient
from thinksafe.kube.refusals import ForbiddenError
from thinksafe.kube.resources import RESOURCES

CHECK = "rollout"


def rollout_checks(deploy: DeploySettings, cluster: ClusterSettings, api: KubernetesClient) -> list[Check]:
    """Return the checks of a rollout; none if nothing is rolled out.

    Args:
        deploy: The section ``deploy``.
        cluster: The section ``cluster``: the account of runs rolls out.
        api: Client of the namespace ``deploy.namespace``.
    """
    if deploy.kind == "none":
        return []
    return [
        (CHECK, lambda: _kind(deploy, api)),
        (CHECK, lambda: [account_finding(
            CHECK, api, cluster.service_account, rights_of(deploy.kind), f"roll out in {deploy.namespace}",
            home=cluster.namespace,
        )]),
        (CHECK, lambda: _objects(deploy, api)),
        (CHECK, lambda: _quota(deploy, api)),
        (CHECK, lambda: image_findings({deploy.image, deploy.fetch_image}, api)),
    ]


def rights_of(kind: str) -> Rights:
    """Return the rights that a rollout of a kind needs in its namespace."""
    served = RESOURCES[KINDS[kind]]
    services: Rights = (("services", "", ("list", "create", "patch")),) if kind == "deployment" else ()
    return (
        (served.plural, served.group, ("list", "watch", "create", "patch")), *services,
        ("pods", "", ("list",)), ("events", "", ("create",)),
    )


def _kind(deploy: DeploySettings, api: KubernetesClient) -> Iterator[Finding]:
    served = RESOURCES[KINDS[deploy.kind]]
    if deploy.kind != "deployment" and served.plural not in api.plurals(served.group, served.version):
        yield failed(
            CHECK, f"The cluster has no {served.full_name} ({served.version}).",
            "Install KServe, or set deploy.kind: deployment.",
        )


def _objects(deploy: DeploySettings, api: KubernetesClient) -> Iterator[Finding]:
    keys: dict[str, set[str]] = {}
    for secret, key, _ in s3_variables(deploy.s3):
        keys.setdefault(secret, set()).add(key)
    if deploy.hub.secret:
        keys.setdefault(deploy.hub.secret, set()).add(deploy.hub.secret_key)
    for name in deploy.image_pull_secrets:
        keys.setdefault(name, set()).add(".dockerconfigjson")
    yield from keyed(CHECK, "Secret", keys, api)
    named = (("ServiceAccount", deploy.service_account), ("PersistentVolumeClaim", deploy.cache_claim))
    for kind, name in named:
        if name:
            _, trouble = looked_up(CHECK, kind, name, api)
            yield trouble or ok(CHECK, f"{kind} {name} exists in {api.namespace}.")


def _quota(deploy: DeploySettings, api: KubernetesClient) -> Iterator[Finding]:
    try:
        demanded, filled = demands(api)
        hard = [quota["spec"].get("hard") or {} for quota in api.find("ResourceQuota")]
    except ForbiddenError:
        yield warning(CHECK, f"No permission to list the quotas and limit ranges of {api.namespace}.", LOOK)
        return
    if "limits.cpu" in demanded - filled and not deploy.cpu_limit:
        yield failed(
            CHECK, f"A quota of {api.namespace} demands limits.cpu of every container, and vLLM's has none.",
            "Set deploy.cpu_limit.",
        )
    spare = 1 if deploy.surge and deploy.kind == "deployment" else 0
    needed = deploy.gpus * ((deploy.replicas or 1) + spare)
    allowed = [int(found) for one in hard if (found := one.get(f"requests.{deploy.gpu_resource}")) is not None]
    if allowed and min(allowed) < needed:
        yield failed(
            CHECK, f"A quota of {api.namespace} allows {min(allowed)} {deploy.gpu_resource}; a rollout takes {needed}.",
            "Raise it, or set deploy.surge: false, which needs no spare pod." if spare else "Raise it.",
        )
