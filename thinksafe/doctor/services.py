"""Checks of the services that pods use: Kubeflow Pipelines, MLflow, the bucket."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.model import RegistrySettings
from thinksafe.config.pods import environment, secret_variables
from thinksafe.doctor.checks import Check, Finding, failed, ok
from thinksafe.doctor.inside import not_checked, only_inside
from thinksafe.errors import ConflictError, StageError
from thinksafe.kube.client import KubernetesClient

PATIENCE_S = "8"
"""How long the store retries a failing call, in seconds; a run is more patient."""


def service_checks(cluster: ClusterSettings, registry: RegistrySettings | None) -> list[Check]:
    """Return the checks of a cluster's services by name; run them inside :func:`as_pods_see_it`.

    A service that only pods reach is not checked from anywhere else.
    """
    kfp = cluster.kfp
    api = kfp.host or ("" if kfp.access == "port-forward" else f"http://ml-pipeline.{kfp.namespace}.svc:8888")
    checks: list[tuple[str, str, str, Callable[[], Iterable[Finding]]]] = [
        ("kubeflow", api, "Or set cluster.kfp.access: port-forward.", lambda: _kubeflow(cluster)),
        ("mlflow", cluster.mlflow.uri, "", lambda: _mlflow(cluster, registry)),
        ("bucket", cluster.s3.endpoint, "", lambda: _bucket(cluster)),
    ]
    namespaces = {cluster.namespace, kfp.namespace}
    return [
        (name, partial(not_checked, name, address, action) if only_inside(address, namespaces) else run)
        for name, address, action, run in checks
    ]


@contextmanager
def as_pods_see_it(cluster: ClusterSettings, api: KubernetesClient | None, webhook: str = "") -> Iterator[None]:
    """Set the environment that a planning pod has.

    Credentials that are already set stay; others come from Kubernetes. Addresses always come from the configuration.

    Args:
        cluster: The settings.
        api: Client to read secrets with, if the account may; None reads none.
        webhook: Variable with the address of a webhook, wanted besides those of S3 and MLflow.
    """
    wanted = {name: value for name, value in environment(cluster, "plan").items() if not name.startswith("HF_")}
    wanted.pop("THINKSAFE_CACHE", None)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if name in wanted and not os.path.isfile(wanted[name]):
            wanted.pop(name)  # mounted in pods only
    for secret, key, variable in secret_variables(cluster, "plan"):
        needed = variable == webhook or variable.startswith(("AWS_", "MLFLOW_"))
        if api is not None and variable not in os.environ and needed:
            with suppress(StageError, ValueError):
                value = ((api.get("Secret", secret) or {}).get("data") or {}).get(key)
                if value:
                    wanted[variable] = base64.b64decode(value).decode()
    wanted["THINKSAFE_S3_RETRY_SECONDS"] = PATIENCE_S
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _kubeflow(cluster: ClusterSettings) -> Iterator[Finding]:
    access = import_module("thinksafe_pipelines.kfp.access")
    multi_user = access.ask_whether_multi_user(cluster)
    if multi_user != cluster.kfp.multi_user:
        yield failed(
            "kubeflow", f"Kubeflow Pipelines is {'' if multi_user else 'not '}in multi-user mode.",
            f"Set cluster.kfp.multi_user: {str(multi_user).lower()}.",
        )
        return
    access.list_one_pipeline(cluster)
    where = f"namespace {cluster.namespace}" if multi_user else "all users"
    yield ok("kubeflow", f"The API answers and lists pipelines of {where}.")


def _mlflow(cluster: ClusterSettings, registry: RegistrySettings | None) -> Iterator[Finding]:
    from thinksafe.registry.mlflow_client import connect, ensure_experiment, reporting

    uri = cluster.mlflow.uri
    client = connect(uri)
    with reporting(uri, "write a run"):
        experiment = ensure_experiment(client, uri, registry.experiment if registry else "thinksafe")
        run = client.create_run(experiment, tags={"thinksafe.doctor": "true"})
        client.delete_run(run.info.run_id)
    yield ok("mlflow", f"{uri} answers and accepts runs.")


def _bucket(cluster: ClusterSettings) -> Iterator[Finding]:
    from thinksafe.store import open_store

    store = open_store(cluster.store)
    key = f"doctor/{secrets.token_hex(8)}.json"
    store.create(key, b"{}")
    try:
        if store.get(key) != b"{}" or key not in store.keys("doctor/"):
            yield failed("bucket", f"{cluster.store} does not return what was written.", "Check the server.")
            return
        try:
            store.create(key, b'{"second": true}')
        except ConflictError:
            yield ok("bucket", f"{cluster.store} can be read, written and listed, and honours If-None-Match.")
        else:
            yield failed(
                "bucket", f"The server of {cluster.store} ignores If-None-Match.",
                "Use a server that honours conditional writes (AWS S3, Ceph); otherwise two runs could both promote.",
            )
    finally:
        store.delete(key)
