"""What the doctor finds of Kubeflow Trainer, against a server that answers as the Kubernetes API does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_contents import KubeContents
from kube_http import kube_api

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding
from thinksafe.doctor.trainer import train_job_findings
from thinksafe.kube.client import connect
from thinksafe_pipelines.kfp.snapshot import CLUSTERS

RUNTIME = "clustertrainingruntimes/torch-distributed"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeContents]:
    with kube_api(tmp_path, monkeypatch) as running:
        running.contents.trainer()
        yield running.contents


def found(**train_job: object) -> list[Finding]:
    section = {**CLUSTERS["plain"], "train_job": {"enabled": True, **train_job}}
    cluster = ClusterSettings.model_validate(section)
    return list(train_job_findings(cluster, connect(cluster.namespace, section="cluster")))


def test_a_cluster_that_has_all_is_well(server: KubeContents) -> None:
    assert [one.status for one in found()] == ["ok", "ok"]
    assert {one["user"] for one in server.asked} == {"system:serviceaccount:thinksafe:thinksafe-pipeline"}
    assert {one["verb"] for one in server.asked if one["resource"] == "trainjobs"} == {
        "list", "watch", "create", "delete"
    }
    assert found(enabled=False) == []


def test_each_missing_thing_is_named_with_its_fix(server: KubeContents) -> None:
    (runtime, rights) = found(runtime={"name": "torch-tuned"})
    assert (runtime.status, rights.status) == ("failed", "ok")
    assert "no ClusterTrainingRuntime torch-tuned" in runtime.message
    assert "cluster.train_job.runtime" in runtime.action

    (runtime, _) = found(runtime={"name": "mine", "kind": "TrainingRuntime"})
    assert "no TrainingRuntime mine in thinksafe" in runtime.message

    server.denied = {"create trainjobs", "get pods/log"}
    (_, rights) = found()
    assert "may not create trainjobs, get pods/log in thinksafe." in rights.message
    assert 'resources: ["trainjobs"], verbs: [create]; apiGroups: [""], resources: ["pods/log"]' in rights.action

    del server.objects["/apis/trainer.kubeflow.org/v1alpha1"]
    (trainer,) = found()
    assert trainer.status == "failed"
    assert "Install Kubeflow Trainer" in trainer.action


@pytest.mark.parametrize(
    ("changed", "words"), [({"policy": "mpi"}, "no torch policy"), ({"job": "launcher"}, "no job 'node'")]
)
def test_a_runtime_of_another_kind_is_refused(server: KubeContents, changed: dict[str, str], words: str) -> None:
    server.trainer(**changed)  # type: ignore[arg-type]
    (runtime, _) = found()
    assert runtime.status == "failed"
    assert words in runtime.message


def test_what_may_not_be_looked_at_is_a_warning(server: KubeContents) -> None:
    server.forbidden = {RUNTIME, "localsubjectaccessreviews"}
    assert [one.status for one in found()] == ["warning", "warning"]
    assert "kubectl auth can-i create trainjobs" in found()[1].action
