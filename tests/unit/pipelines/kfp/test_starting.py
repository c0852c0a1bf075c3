"""Runs whose pods do not start are ended, against servers that speak the APIs of Kubeflow and Kubernetes."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_configs import cluster_document
from kfp_server import KfpServer, kfp_server
from kube_api import KubeApi
from kube_http import kube_api
from webhook_receiver import webhook_receiver

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.errors import StageError
from thinksafe.run.record import START, list_records
from thinksafe.store.local import LocalStore
from thinksafe_pipelines.kfp import starting
from thinksafe_pipelines.kfp.starting import RUN_LABEL, end_stuck, follow

OLD, YOUNG = 31, 20
"""Ages of pods, minutes, on both sides of the default of ``start_within``."""


def ago(minutes: int) -> str:
    """Return a time of the Kubernetes API."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=minutes)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


MISSING = [{"name": "main", "state": {"waiting": {
    "reason": "CreateContainerConfigError", "message": 'secret "hub-token" not found',
}}}]


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def kubeflow() -> Iterator[KfpServer]:
    with kfp_server() as running:
        running.pipelines = [
            {"pipeline_id": "ours", "display_name": "thinksafe-realign", "namespace": ""},
            {"pipeline_id": "theirs", "display_name": "another-release", "namespace": ""},
        ]
        yield running


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    found = LocalStore(tmp_path / "store")
    monkeypatch.setattr(starting, "open_store", lambda root: found)
    return found


def settings(server: KfpServer, **changed: Any) -> ClusterSettings:
    cluster = load_config(cluster_document(kfp={"host": server.address}, **changed)).cluster
    assert cluster is not None
    return cluster


def run(server: KfpServer, name: str, pipeline: str = "ours", state: str = "RUNNING", **given: str) -> str:
    server.runs.append({
        "run_id": name, "state": state, "pipeline_version_reference": {"pipeline_id": pipeline},
        "runtime_config": {"parameters": given},
    })
    return name


def pod(run_id: str, stage: str = "judge", created: int = OLD, **status: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "thinksafe", "app.kubernetes.io/component": stage, RUN_LABEL: run_id}
    return {
        "metadata": {"name": f"{run_id}-{stage}", "labels": labels, "creationTimestamp": ago(created)},
        "status": {"phase": "Pending", "containerStatuses": MISSING, **status},
    }


def test_a_run_that_waits_too_long_is_ended_with_the_pods_own_words(
    kubernetes: KubeApi, kubeflow: KfpServer, store: LocalStore
) -> None:
    kubernetes.pods = [pod(run(kubeflow, "r1")), pod("r1", "sample")]
    (found,) = end_stuck(settings(kubeflow))
    assert kubeflow.changes == ["POST runs/r1:terminate"]
    assert 'CreateContainerConfigError: secret "hub-token" not found' in str(found)
    record = list_records(store, "r1").found[START]
    assert (record.stage, record.status, record.error) == ("judge", "failed", found.error.problem)
    assert end_stuck(settings(kubeflow)) == []  # it is ending
    assert len(kubeflow.changes) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"created": YOUNG}, {"phase": "Running", "containerStatuses": []}, {"stage": "report"}, {"stage": "driver"},
        {"phase": "Failed", "containerStatuses": []},
    ],
)
def test_pods_with_time_left_and_exit_tasks_end_no_run(
    kubernetes: KubeApi, kubeflow: KfpServer, store: LocalStore, changed: dict[str, Any]
) -> None:
    kubernetes.pods = [pod(run(kubeflow, "r1"), **changed)]
    assert end_stuck(settings(kubeflow)) == []
    assert kubeflow.changes == []


def test_the_time_to_start_is_that_of_the_stage(
    kubernetes: KubeApi, kubeflow: KfpServer, store: LocalStore
) -> None:
    kubernetes.pods = [pod(run(kubeflow, "r1"), "judge", YOUNG), pod(run(kubeflow, "r2"), "sample", OLD)]
    stages = {"default": {"start_within": "1h"}, "judge": {"start_within": "10m"}}
    assert [one.run_id for one in end_stuck(settings(kubeflow, stages=stages))] == ["r1"]


def test_runs_of_others_and_ended_ones_are_left_alone(
    kubernetes: KubeApi, kubeflow: KfpServer, store: LocalStore
) -> None:
    run(kubeflow, "theirs", "theirs")
    run(kubeflow, "over", state="FAILED")
    kubernetes.pods = [pod("theirs"), pod("over"), pod("deleted")]
    assert end_stuck(settings(kubeflow)) == []
    assert kubeflow.changes == []


def test_the_record_is_that_of_the_runs_own_id_and_store(
    kubernetes: KubeApi, kubeflow: KfpServer, tmp_path: Path
) -> None:
    kubernetes.pods = [pod(run(kubeflow, "r1", run_id="named", artifacts=str(tmp_path / "other")))]
    end_stuck(settings(kubeflow))
    assert START in list_records(LocalStore(tmp_path / "other"), "named").found


def test_a_run_is_ended_even_where_the_store_cannot_be_reached(
    kubernetes: KubeApi, kubeflow: KfpServer, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    kubernetes.pods = [pod(run(kubeflow, "r1", artifacts=str(tmp_path / "file" / "below")))]
    (found,) = end_stuck(settings(kubeflow))
    assert kubeflow.changes == ["POST runs/r1:terminate"]
    assert "The report will not say so" in str(found)


HOOK = "THINKSAFE_ALARM_WEBHOOK"
SOURCE = [{"name": "alarm", "keys": {"address": HOOK}}]


def test_the_webhook_is_told_at_the_address_in_its_secret(
    kubernetes: KubeApi, kubeflow: KfpServer, store: LocalStore
) -> None:
    kubernetes.pods = [pod(run(kubeflow, "r1", run_id="named"))]
    with webhook_receiver() as receiver:
        kubernetes.contents.secret("alarm", address=receiver.address)
        (found,) = end_stuck(settings(kubeflow, secrets=SOURCE), webhook=HOOK)
    assert "webhook" not in str(found)
    ((_, _, message),) = receiver.heard
    assert (message["event"], message["run_id"], message["kubeflow_run_id"], message["stage"]) == (
        "thinksafe.run_ended", "named", "r1", "judge"
    )
    assert 'secret "hub-token" not found' in message["summary"]
    assert message["report"].endswith("/reports/named/report.html")
    assert HOOK not in os.environ


def test_a_webhook_that_cannot_be_told_ends_no_less(
    kubernetes: KubeApi, kubeflow: KfpServer, store: LocalStore
) -> None:
    kubernetes.pods = [pod(run(kubeflow, "r1"))]
    (found,) = end_stuck(settings(kubeflow, secrets=SOURCE), webhook=HOOK)  # there is no such Secret
    assert kubeflow.changes == ["POST runs/r1:terminate"]
    assert f"The webhook was not told: not called: {HOOK} holds no http address." in str(found)


def test_a_run_is_followed_to_its_end(
    kubernetes: KubeApi, kubeflow: KfpServer, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "LOOK_S", 0.01)
    monkeypatch.setattr(starting, "PODS_EVERY_S", 0.0)
    kubernetes.pods = [pod(run(kubeflow, "r1", state="PENDING")), pod(run(kubeflow, "r2"))]
    lines = follow(settings(kubeflow), "r1")
    assert next(lines) == "run r1: PENDING"
    assert "ended run r1, stage judge" in next(lines)
    assert kubeflow.changes == ["POST runs/r1:terminate"]  # r2 is not its concern
    assert next(lines) == "run r1: CANCELING"
    kubeflow.finish("r1", "FAILED")
    assert next(lines) == "run r1: FAILED"
    with pytest.raises(StageError, match=r"ended FAILED.*/reports/r1/report\.html"):
        next(lines)
    kubeflow.finish("r2")
    assert list(follow(settings(kubeflow), "r2")) == ["run r2: SUCCEEDED"]


def test_a_run_is_followed_where_pods_cannot_be_seen(
    kubernetes: KubeApi, kubeflow: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "LOOK_S", 0.01)
    monkeypatch.setattr(starting, "PODS_EVERY_S", 0.0)
    kubernetes.forbidden = {("list", "pods")}
    lines = follow(settings(kubeflow), run(kubeflow, "r1"))
    assert next(lines) == "run r1: RUNNING"
    assert "its pods were not looked at" in next(lines)
    kubeflow.finish("r1")
    assert "run r1: SUCCEEDED" in list(lines)
