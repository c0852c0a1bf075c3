"""Training on two nodes, as a TrainJob of Kubeflow Trainer."""

from __future__ import annotations

import pytest
from accepting.cluster import Cluster
from accepting.release import Release


def test_train_job_with_two_nodes(cluster: Cluster) -> None:
    """The run trains in two pods and ends well; the TrainJob is gone then."""
    if not cluster.has("trainjobs.trainer.kubeflow.org"):
        pytest.skip("no Kubeflow Trainer here, or no right to list its TrainJobs")
    nodes = Release(
        cluster, "nodes", cluster={"train_job": {"enabled": True}}, config={"training": {"nodes": 2, "processes": 2}}
    ).install()
    run = nodes.submit()
    run.succeed()
    assert run.records()["train"]["details"]["processes"] == 2
    assert cluster.get("trainjobs.trainer.kubeflow.org", labels=f"app.kubernetes.io/instance={nodes.name}") == []
