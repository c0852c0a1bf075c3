"""What the session made, found by its label or its names, and removed."""

from __future__ import annotations

from typing import Any

from accepting.cluster import Cluster
from accepting.settings import LABEL

KINDS = (
    "pods", "cronjobs", "jobs", "deployments", "services", "configmaps", "secrets", "serviceaccounts", "roles",
    "rolebindings", "networkpolicies", "persistentvolumeclaims", "resourcequotas",
)
FORGET = """
import sys
from mlflow import MlflowClient
client, name = MlflowClient(sys.argv[1]), sys.argv[2]
for model in client.search_registered_models(f"name LIKE '{name}%'"):
    client.delete_registered_model(model.name)
for one in client.search_experiments(filter_string=f"name LIKE '{name}%'"):
    client.delete_experiment(one.experiment_id)
"""


class Leftovers:
    """Everything that belongs to a session.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.prefix = cluster, f"accept-{cluster.session}-"

    def kubernetes(self) -> list[tuple[str, str]]:
        """Return kind and name of the objects."""
        listed = [kind for kind in KINDS if self.cluster.has(kind)]
        return [
            (kind, found["metadata"]["name"]) for kind in listed
            for found in self.cluster.get(kind, labels=f"{LABEL}={self.cluster.session}")
        ]

    def releases(self) -> list[str]:
        states = ("--deployed", "--failed", "--pending", "--uninstalling")
        done = self.cluster.helm("list", *states, "--short", "--filter", f"^{self.prefix}")
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def kubeflow(self) -> dict[str, list[Any]]:
        """Return what is in Kubeflow: recurring runs, runs, pipelines, experiments."""
        kfp, settings = self.cluster.kfp, self.cluster.settings
        space = settings.namespace if settings.multi_user else None
        experiments = [
            one for one in pages(kfp.list_experiments, "experiments", namespace=space)
            if one.display_name.startswith(self.prefix)
        ]
        mine = {one.experiment_id for one in experiments}
        return {
            "recurring_runs": [
                one for one in pages(kfp.list_recurring_runs, "recurring_runs", namespace=space)
                if one.experiment_id in mine
            ],
            "runs": [one for each in mine for one in pages(kfp.list_runs, "runs", experiment_id=each)],
            "pipelines": [
                one for one in pages(kfp.list_pipelines, "pipelines", namespace=space)
                if one.display_name.startswith(self.prefix)
            ],
            "experiments": experiments,
        }

    def keys(self) -> list[str]:
        """Return the objects in the bucket."""
        return [one.key for one in self.cluster.bucket.objects.filter(Prefix=f"accept/{self.cluster.session}/")]

    def remove(self) -> None:
        """Remove it all; what is gone already is no problem."""
        kfp, found = self.cluster.kfp, self.kubeflow()
        for one in found["recurring_runs"]:
            kfp.delete_recurring_run(one.recurring_run_id)
        for one in found["runs"]:
            kfp.delete_run(one.run_id)
        for name in self.releases():
            self.cluster.helm("uninstall", name, "--no-hooks")
        for pipeline in found["pipelines"]:
            for version in pages(kfp.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline.pipeline_id):
                kfp.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
            kfp.delete_pipeline(pipeline.pipeline_id)
        for one in found["experiments"]:
            kfp.delete_experiment(one.experiment_id)
        if self.cluster.settings.mlflow:
            self._forget_models()
        for kind, name in self.kubernetes():
            self.cluster.delete(kind, name)
        for key in self.keys():
            self.cluster.bucket.Object(key).delete()

    def _forget_models(self) -> None:
        command = ["python", "-c", FORGET, self.cluster.settings.mlflow, self.prefix]
        self.cluster.run_pod(f"{self.prefix}forget", self.cluster.settings.cpu, command, seconds=300)


def pages(ask: Any, items: str, **query: Any) -> list[Any]:
    """Return all items of a list of Kubeflow's API."""
    found: list[Any] = []
    token = ""
    while True:
        page = ask(page_token=token, page_size=100, **query)
        found += getattr(page, items) or []
        token = page.next_page_token or ""
        if not token:
            return found
