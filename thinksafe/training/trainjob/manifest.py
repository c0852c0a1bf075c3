"""The manifest of a TrainJob (``trainer.kubeflow.org/v1alpha1``, Kubeflow Trainer 2.2 and later).

A pure function of the ``cluster`` section. Image, command, environment and resources are in ``spec.trainer``;
everything else is a patch of the training runtime's job and container, which are both called ``node``.
"""

from __future__ import annotations

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.config.shape import Shape
from thinksafe.kube.client import Object
from thinksafe.kube.pod_template import job_metadata, pod_metadata, pod_spec, resources, variables

API, NODE = "trainer.kubeflow.org/v1alpha1", "node"
ADAPTER = "thinksafe/adapter"
"""Annotation: key of the adapter that the job trains."""
PATCHES = "thinksafe/train"
"""Manager of our patch of the runtime; Trainer wants a domain and a path."""


def job_name(key: str) -> str:
    """Return the name of an adapter's TrainJob; names of its pods follow from it and stay below 63 characters."""
    return f"thinksafe-{key[:24]}"


def train_job(cluster: ClusterSettings, key: str, address: str, shape: Shape) -> Object:
    """Return the manifest.

    Args:
        cluster: The settings.
        key: Key of the adapter.
        address: Address of the training, the argument of :mod:`thinksafe.training.node`.
        shape: Nodes that train together, and processes of each.
    """
    job = cluster.train_job
    pod = {"metadata": pod_metadata(cluster, "train"), "spec": pod_spec(cluster, "train", {"name": NODE})}
    patch = {"name": NODE, "template": {"spec": {"template": pod}}}
    return {
        "apiVersion": API, "kind": "TrainJob",
        "metadata": job_metadata(cluster, "train", job_name(key), {ADAPTER: key}),
        "spec": {
            "runtimeRef": {"apiGroup": API.partition("/")[0], "kind": job.runtime.kind, "name": job.runtime.name},
            "trainer": {
                "image": cluster.image("train"),
                "command": ["python", "-m", "thinksafe.training.node"], "args": [address],
                "env": variables(cluster, "train"), "numNodes": shape.nodes, "numProcPerNode": shape.processes,
                "resourcesPerNode": resources(cluster.stage("train")),
            },
            "activeDeadlineSeconds": seconds(job.deadline),
            "runtimePatches": [
                {
                    "manager": PATCHES,
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [patch]}}},
                }
            ],
        },
    }
