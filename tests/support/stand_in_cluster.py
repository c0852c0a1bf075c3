"""A cluster of stand-ins: the Kubernetes API, Kubeflow Pipelines and what runs its runs, Jobs, S3 and MLflow.

Everything is of this machine: pods are processes, images are names. One namespace; no Trainer, no KServe; anybody may
do everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from job_controller import JobController
from kfp_backend import KfpBackend
from kfp_server import KfpServer, kfp_server
from kube_api import KubeApi, Object
from kube_http import kube_api
from kube_pods import PodRunner
from mlflow_servers import mlflow_server
from s3_servers import BUCKET, moto_s3

from thinksafe.store.s3 import s3_client

NAMESPACE = "kubeflow"
IMAGES = {"cpu": "registry.test/thinksafe/cpu:1", "trainer": "registry.test/thinksafe/trainer-cpu:1"}


@dataclass(frozen=True)
class StandIns:
    """What runs."""

    api: KubeApi
    kfp: KfpServer
    backend: KfpBackend
    jobs: JobController
    variables: dict[str, str]
    """Variables with which the acceptance suite finds all of it."""


@contextmanager
def stand_in_cluster(folder: Path, config: dict[str, Any], values: dict[str, Any]) -> Iterator[StandIns]:
    """Start everything.

    Args:
        folder: For all files.
        config: Laid over the recipe that the suite runs.
        values: Values of the chart.
    """
    with (
        pytest.MonkeyPatch.context() as patch, moto_s3() as s3, mlflow_server(folder / "mlflow") as mlflow,
        kube_api(folder, patch, "") as api, kfp_server() as kfp,
    ):
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        s3_client().create_bucket(Bucket=BUCKET)
        (folder / "pods").mkdir()
        api.contents.objects[f"/api/v1/namespaces/{NAMESPACE}"] = {
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
        }
        api.contents.node("one", images=[{"names": [image]} for image in IMAGES.values()])
        api.contents.services[f"{NAMESPACE}/ml-pipeline"] = kfp.address
        inside = {"KUBECONFIG": str(folder / "kubeconfig")}  # in the place of a service account's token
        runner = PodRunner(api, folder / "pods", set(IMAGES.values()), inside)
        jobs = JobController(api, folder / "pods", runner=runner, quota=lambda spec: refused(api, spec))
        backend = KfpBackend(kfp, api, folder / "runs", inside, set(IMAGES.values()))
        given = {"cluster": {"kfp": {"host": kfp.address}}, **values}
        (folder / "values.yaml").write_text(yaml.safe_dump(given))
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            "ACCEPT_NAMESPACE": NAMESPACE, "ACCEPT_IMAGE_CPU": IMAGES["cpu"], "ACCEPT_IMAGE_TRAINER": IMAGES["trainer"],
            "ACCEPT_BUCKET": BUCKET, "ACCEPT_S3_ENDPOINT": s3.endpoint, "ACCEPT_KFP_HOST": kfp.address,
            "ACCEPT_MLFLOW_URI": mlflow.uri, "ACCEPT_VALUES": str(folder / "values.yaml"),
            "ACCEPT_CONFIG": str(folder / "config.yaml"), "ACCEPT_WIDTH": "2", "ACCEPT_OUT": str(folder / "out"),
        }
        try:
            yield StandIns(api, kfp, backend, jobs, variables)
        finally:
            backend.stop()
            jobs.stop()
            runner.stop()


def refused(api: KubeApi, spec: Object) -> str:
    """Return what a quota that admits none of a resource says to a pod that requests it; empty where there is none."""
    for (plural, name), found in list(api.objects.items()):
        if plural != "resourcequotas":
            continue
        for container in spec["containers"]:
            for resource, amount in container.get("resources", {}).get("requests", {}).items():
                key = f"requests.{resource}"
                if found["spec"]["hard"].get(key) == "0":
                    return f"exceeded quota: {name}, requested: {key}={amount}, used: {key}=0, limited: {key}=0"
    return ""
