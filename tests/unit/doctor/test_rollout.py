"""What the doctor finds of the namespace where the champion is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_contents import KubeContents
from kube_http import kube_api
from rollouts import settings_of

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding, findings
from thinksafe.doctor.rollout import rollout_checks
from thinksafe.kube.client import connect
from thinksafe_pipelines.kfp.snapshot import CLUSTERS

NAMED: dict[str, Any] = {
    "s3": {"secret": {"name": "s3"}}, "hub": {"secret": "hub"}, "image_pull_secrets": ["registry"],
    "service_account": "server", "cache_claim": "weights",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeContents]:
    with kube_api(tmp_path, monkeypatch) as running:
        contents = running.contents
        contents.secret("s3", "serving", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        contents.secret("hub", "serving", token="t")
        contents.secret("registry", "serving", **{".dockerconfigjson": '{"auths": {}}'})
        contents.put("serviceaccounts", "server", namespace="serving")
        contents.put("persistentvolumeclaims", "weights", namespace="serving")
        images = settings_of().image, settings_of().fetch_image
        contents.node("gpu-1", images=[{"names": [f"docker.io/{image}"]} for image in images])
        yield contents


def found(**changed: Any) -> list[Finding]:
    cluster = ClusterSettings.model_validate(CLUSTERS["plain"])
    api = connect("serving", section="deploy", retry_seconds=0)
    return list(findings(rollout_checks(settings_of(**changed), cluster, api)))


def troubles(**changed: Any) -> list[tuple[str, str]]:
    return [(one.status, one.message) for one in found(**changed) if one.status != "ok"]


def test_a_namespace_that_has_all_is_well(server: KubeContents) -> None:
    assert troubles(**NAMED) == []
    assert {one["user"] for one in server.asked} == {"system:serviceaccount:thinksafe:thinksafe-pipeline"}
    assert {one["namespace"] for one in server.asked} == {"serving"}
    assert found(kind="none") == []


def test_each_missing_thing_is_named(server: KubeContents) -> None:
    server.secret("hub", "serving", other="t")
    for kind, name in (("secrets", "s3"), ("persistentvolumeclaims", "weights"), ("serviceaccounts", "server")):
        del server.objects[f"/api/v1/namespaces/serving/{kind}/{name}"]
    server.denied = {"patch deployments", "create events"}
    assert troubles(**NAMED) == [
        ("failed", "The account thinksafe-pipeline may not patch deployments, create events in serving."),
        ("failed", "The Secret hub has no token."),
        ("failed", "There is no Secret s3 in serving."),
        ("failed", "There is no ServiceAccount server in serving."),
        ("failed", "There is no PersistentVolumeClaim weights in serving."),
    ]


def test_a_cluster_without_kserve(server: KubeContents) -> None:
    (trouble,) = troubles(kind="inference-service")
    assert trouble == ("failed", "The cluster has no inferenceservices.serving.kserve.io (v1beta1).")


def test_quotas(server: KubeContents) -> None:
    hard = {"limits.cpu": "16", "requests.nvidia.com/gpu": "1"}
    server.listed("resourcequotas", {"hard": hard}, namespace="serving")
    assert troubles() == [
        ("failed", "A quota of serving demands limits.cpu of every container, and vLLM's has none."),
        ("failed", "A quota of serving allows 1 nvidia.com/gpu; a rollout takes 2."),
    ]
    assert troubles(cpu_limit="8", surge=False) == []
    container = {"type": "Container", "default": {"cpu": "8"}}
    server.listed("limitranges", {"limits": [container]}, namespace="serving")
    assert troubles(surge=False) == []


def test_what_may_not_be_looked_at_is_a_warning(server: KubeContents) -> None:
    server.forbidden = {"localsubjectaccessreviews", "/secrets/s3", "/resourcequotas"}
    said = troubles(**NAMED)
    assert [status for status, _ in said] == ["warning"] * 3
    assert "what the account thinksafe-pipeline may do in serving" in said[0][1]
