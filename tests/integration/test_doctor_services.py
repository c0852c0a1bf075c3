"""The doctor's checks of services, against servers over HTTP: KFP's API, S3 (moto), MLflow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import reverse_proxy
from cluster_configs import cluster_document
from kfp_server import kfp_server
from kube_http import kube_api
from mlflow_servers import mlflow_server
from s3_servers import BUCKET, moto_s3

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding, findings
from thinksafe.doctor.services import as_pods_see_it, service_checks
from thinksafe.kube.client import KubernetesClient, connect


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with moto_s3() as server:
        yield server


@pytest.fixture
def bucket(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    from thinksafe.store.s3 import s3_client

    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3_client().create_bucket(Bucket=BUCKET)
    return str(s3.environment["AWS_ENDPOINT_URL"])


def check(name: str, *, api: KubernetesClient | None = None, **changed: Any) -> list[Finding]:
    config = load_config(cluster_document(**changed))
    cluster = config.cluster
    assert isinstance(cluster, ClusterSettings)
    with as_pods_see_it(cluster, api):
        return list(findings([one for one in service_checks(cluster, config.registry) if one[0] == name]))


def store_at(address: str) -> dict[str, Any]:
    return {"store": f"s3://{BUCKET}/doctor-tests", "s3": {"endpoint": address, "secret": {"name": "s3"}}}


def test_a_good_bucket(bucket: str) -> None:
    (found,) = check("bucket", **store_at(bucket))
    assert found.status == "ok"
    from thinksafe.store import open_store

    assert open_store(f"s3://{BUCKET}/doctor-tests").keys("") == []  # it cleans up after itself


def test_a_server_that_ignores_conditions_is_found(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse_proxy, "_HOP", reverse_proxy._HOP | {"if-none-match"})
    with reverse_proxy.reverse_proxy(int(bucket.rpartition(":")[2])) as proxy:
        (found,) = check("bucket", **store_at(proxy.uri))
    assert found.status == "failed"
    assert "ignores If-None-Match" in found.message
    assert "both promote" in found.action


def test_a_missing_bucket_is_named(bucket: str) -> None:
    (found,) = check("bucket", **{**store_at(bucket), "store": "s3://not-there/x"})
    assert found.status == "failed"
    assert "not-there" in found.message
    assert found.action


def test_credentials_come_from_the_secret_where_none_are_set(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with kube_api(tmp_path, monkeypatch) as api:
        api.contents.secret("s3", AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")
        (found,) = check("bucket", api=connect("thinksafe", section="cluster"), **store_at(bucket))
    assert found.status == "ok"
    assert "AWS_ACCESS_KEY_ID" not in os.environ


def test_kubeflow_in_the_right_mode() -> None:
    with kfp_server() as server:
        assert [one.status for one in check("kubeflow", kfp={"host": server.address})] == ["ok"]
    with kfp_server(multi_user=True) as server:
        (found,) = check("kubeflow", kfp={"host": server.address})
        assert found.action == "Set cluster.kfp.multi_user: true."
        (found,) = check("kubeflow", kfp={"host": server.address, "multi_user": True})
        assert found.status == "ok"
        server.fail["pipelines"] = 403
        (found,) = check("kubeflow", kfp={"host": server.address, "multi_user": True})
        assert "answered 403" in found.message
        assert "kubeflow-pipelines-edit" in found.action


def test_what_only_pods_reach_is_not_checked_from_elsewhere() -> None:
    inside = {
        "kubeflow": {"kfp": {"access": "in-cluster"}}, "mlflow": {"mlflow": {"uri": "http://mlflow.mlflow.svc:5000"}},
        "bucket": store_at("http://minio.kubeflow:9000"),
    }
    for name, changed in inside.items():
        (found,) = check(name, **changed)
        assert (found.check, found.status) == (name, "warning")
        assert "reachable only from inside the cluster and was not checked here" in found.message
        assert "helm test" in found.action


@pytest.mark.slow
def test_mlflow_is_written_to_and_knows_its_name(tmp_path: Path) -> None:
    with mlflow_server(tmp_path / "mlflow", options=["--allowed-hosts", "127.0.0.1,127.0.0.1:*"]) as server:
        (found,) = check("mlflow", mlflow={"uri": server.uri})
        assert found.status == "ok"
        with reverse_proxy.reverse_proxy(server.port, host="mlflow.thinksafe.svc.cluster.local") as proxy:
            (found,) = check("mlflow", mlflow={"uri": proxy.uri})
    assert found.status == "failed"
    assert "Invalid Host header" in found.message
    assert "--allowed-hosts" in found.action


def test_the_command_shows_every_failure_and_exits_1(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    nowhere = "http://127.0.0.1:9"
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(kfp={"host": nowhere}, mlflow={"uri": nowhere}, **store_at(nowhere)))
    ended = cli("doctor", config, "--cluster", "--json")
    found = json.loads(ended.out)
    assert ended.code == 1
    assert {one["check"] for one in found if one["status"] == "failed"} == {
        "kubernetes", "kubeflow", "mlflow", "bucket"
    }
    assert all(one["action"] for one in found)
    shown = cli("doctor", config, "--cluster")
    assert shown.code == 1
    assert "4 failed" in shown.out
