"""What the doctor finds of quotas, limit ranges and policies, against a server that answers as the Kubernetes API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.admission import LIMIT_RANGE, quota_findings, run_pod, trial_findings
from thinksafe.doctor.checks import Finding, findings
from thinksafe.kube.client import connect
from thinksafe_pipelines.kfp.snapshot import CLUSTERS

AMOUNTS = {"cpu": "1", "memory": "2Gi"}
OWN = {"stages": {"default": {"requests": AMOUNTS, "limits": AMOUNTS}}}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api(tmp_path, monkeypatch) as running:
        yield running


def settings(**changed: Any) -> ClusterSettings:
    return ClusterSettings.model_validate({**CLUSTERS["plain"], "stages": {}, **changed})


def quota(**changed: Any) -> list[Finding]:
    return list(quota_findings(settings(**changed), connect("thinksafe", section="cluster")))


def trial(**changed: Any) -> list[Finding]:
    api = connect("thinksafe", section="cluster", retry_seconds=0)
    return list(findings([("admission", lambda: trial_findings(settings(**changed), api))]))


@pytest.mark.parametrize("resource", ["cpu", "requests.memory", "limits.cpu"])
def test_a_quota_without_a_limit_range_refuses_argos_containers(server: KubeApi, resource: str) -> None:
    server.contents.listed("resourcequotas", {"hard": {resource: "8", "pods": "10"}})
    (found,) = quota(**OWN)
    assert found.status == "warning"
    assert "Argo's containers init and wait" in found.message
    assert f"demands {resource if '.' in resource else f'requests.{resource}'} of every container" in found.message
    assert LIMIT_RANGE in found.action


def test_the_manifest_that_it_names_is_what_helps(server: KubeApi) -> None:
    manifest = yaml.safe_load(LIMIT_RANGE)
    kubernetes_validate.validate(manifest, "1.33", strict=True)
    server.contents.listed("resourcequotas", {"hard": {"requests.cpu": "8", "limits.memory": "8Gi"}})
    server.contents.listed("limitranges", manifest["spec"])
    assert [one.status for one in quota(**OWN)] == ["ok"]
    (_, bare) = quota()
    assert bare.status == "warning"
    assert bare.message == "No stage sets limits.memory, requests.cpu."
    (_, other) = quota(stages={"sample": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}}})
    assert other.message.startswith("The stages plan, prepare")
    assert "sample" not in other.message
    assert "cluster.stages.default" in bare.action
    page = (Path(__file__).parents[3] / "docs" / "operators.md").read_text("utf-8")
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "LimitRange" in text]
    assert shown == [manifest]


def test_ranges_of_pods_and_without_defaults_fill_nothing_in(server: KubeApi) -> None:
    server.contents.listed("resourcequotas", {"hard": {"limits.cpu": "8"}})
    server.contents.listed(
        "limitranges", {"limits": [{"type": "Pod", "max": {"cpu": "4"}}, {"type": "Container", "min": {"cpu": "1m"}}]}
    )
    assert [one.status for one in quota(**OWN)] == ["warning"]


def test_without_a_quota_on_cpu_or_memory_there_is_nothing_to_say(server: KubeApi) -> None:
    assert quota() == []
    server.contents.listed("resourcequotas", {"hard": {"pods": "10", "requests.nvidia.com/gpu": "4"}})
    assert quota() == []
    server.contents.forbidden = {"/limitranges"}
    (found,) = quota()
    assert found.status == "warning"
    assert "No permission to list the quotas" in found.message


def test_a_pod_of_a_run_is_tried_and_not_created(server: KubeApi) -> None:
    kubernetes_validate.validate(run_pod(settings(**OWN)), "1.33", strict=True)
    assert [one.status for one in trial()] == ["ok"]
    (request,) = [one for one in server.requests if one.path.endswith("/pods")]
    assert request.query["dryRun"] == "All"
    assert server.objects == {}


@pytest.mark.parametrize(
    "message",
    [
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": seccompProfile',
        'pods "x" is forbidden: failed quota: q: must specify limits.cpu for: init,wait',
        'admission webhook "kyverno" denied the request: no label team',
    ],
)
def test_the_clusters_own_words_are_shown(server: KubeApi, message: str) -> None:
    server.admit = lambda _: (403, message)
    (found,) = trial()
    assert found.status == "failed"
    assert message in found.message


def test_a_quota_that_is_used_up_is_no_failure(server: KubeApi) -> None:
    server.admit = lambda _: (403, 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=9')
    assert [one.status for one in trial()] == ["warning"]


def test_who_may_not_create_pods_hears_nothing(server: KubeApi) -> None:
    server.forbidden = {("create", "pods")}
    assert trial() == []
