"""What the doctor finds of the right to start Jobs, against a server that answers as the Kubernetes API does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_contents import KubeContents
from kube_http import kube_api

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding
from thinksafe.doctor.jobs import job_findings
from thinksafe.kube.client import connect
from thinksafe_pipelines.kfp.snapshot import CLUSTERS


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeContents]:
    with kube_api(tmp_path, monkeypatch) as running:
        yield running.contents


def found(*sections: str) -> list[Finding]:
    cluster = ClusterSettings.model_validate(CLUSTERS["plain"]).with_wide(sections)
    return list(job_findings(cluster, connect(cluster.namespace, section="cluster")))


def test_nothing_is_asked_where_one_pod_does_the_work(server: KubeContents) -> None:
    assert found() == []
    assert server.asked == []


def test_the_rights_are_those_of_jobs(server: KubeContents) -> None:
    (rights,) = found("sample_training")
    assert rights.status == "ok"
    assert {one["verb"] for one in server.asked if one["resource"] == "jobs"} == {"list", "watch", "create", "delete"}
    assert {one["group"] for one in server.asked if one["resource"] == "jobs"} == {"batch"}


def test_a_missing_right_is_named_with_the_way_without_jobs(server: KubeContents) -> None:
    server.denied = {"create jobs"}
    (rights,) = found("sample_training")
    assert rights.status == "failed"
    assert "may not create jobs" in rights.message
    assert 'apiGroups: ["batch"], resources: ["jobs"], verbs: [create]' in rights.action
    assert "evaluation.parallelism to 1" in rights.action
