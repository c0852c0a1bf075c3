"""Checks of images: the secrets to pull them with, and whether a node has them. No registry is contacted."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator
from contextlib import suppress

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.stage_table import STAGES
from thinksafe.doctor.checks import Finding, failed, ok, warning
from thinksafe.doctor.looking import looked_up
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.kube.refusals import ForbiddenError


def image_findings(images: Collection[str], api: KubernetesClient) -> Iterator[Finding]:
    """Yield which images a node has pulled, and a warning that names the others, which were not checked."""
    nodes: list[Object] = []
    with suppress(ForbiddenError):
        nodes = api.find("Node")
    pulled = {
        name for node in nodes for image in (node.get("status") or {}).get("images") or []
        for name in image.get("names") or []
    }
    for image in sorted(images):
        if _as_on_nodes(image) in pulled:
            yield ok("images", f"{image} is on a node.")
    if unseen := sorted(image for image in images if _as_on_nodes(image) not in pulled):
        yield warning(
            "images", f"Not looked up in their registry: {', '.join(unseen)}.",
            "`thinksafe doctor --in-cluster` starts a pod of each: one whose image is missing waits for it.",
        )


def _as_on_nodes(image: str) -> str:
    """Return an image as nodes name it: with its registry, and by its digest alone if it has one."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    name, at, digest = image.partition("@")
    if not at:
        return image
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}@{digest}"


def pull_secret_findings(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    """Yield the findings on the pull secrets: each is a login, and the registries of all images are among them."""
    hosts = {_registry(cluster.image(stage)) for stage in STAGES}
    covered: set[str] = set()
    for name in cluster.image_pull_secrets:
        secret, trouble = looked_up("image pull", "Secret", name, api)
        if trouble is not None:
            yield trouble
            covered |= hosts  # unknown
            continue
        try:
            logins = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
            covered |= {address.removeprefix("https://").split("/", 1)[0] for address in logins}
            yield ok("image pull", f"{name} logs in to {', '.join(sorted(logins))}.")
        except (KeyError, TypeError, ValueError):
            yield failed(
                "image pull", f"The Secret {name} is not a login for a registry.",
                f"Create it with `kubectl -n {cluster.namespace} create secret docker-registry {name} ...`.",
            )
    if cluster.image_pull_secrets and (bare := sorted(hosts - covered)):
        yield warning(
            "image pull", f"No pull secret logs in to {', '.join(bare)}.",
            "Add one to cluster.image_pull_secrets, unless the registry is public or the nodes log in.",
        )


def _registry(image: str) -> str:
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "index.docker.io"
