"""Pods that check from inside of the cluster: what is made, what their ends mean, and that they go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from cluster_configs import cluster_document
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor import probes
from thinksafe.doctor.checks import Finding, findings
from thinksafe.kube.client import connect
from thinksafe_pipelines.kfp.snapshot import CLUSTERS

FOUND = [Finding("bucket", "ok", "it works"), Finding("mlflow", "failed", "it does not", "Mend it.")]
LOG = "a library warns\n" + json.dumps([vars(one) for one in FOUND], indent=2) + "\n"


class Kubelet:
    """Ends each pod that is created in the way that its stage is told to."""

    def __init__(self, api: KubeApi) -> None:
        self.api, self.status, self.made, self.gone = api, {}, [], []
        self.logs = {"plan": LOG}
        api.admit, api.controller, api.deleted, api.logs = self.admit, self.run, self.delete, self.log

    def admit(self, manifest: dict[str, Any]) -> None:
        if probes.LABEL in manifest["metadata"]["labels"]:  # not the dry run of another check
            self.made.append(manifest)

    def run(self, pod: dict[str, Any]) -> dict[str, Any]:
        return self.status.get(pod["metadata"]["labels"]["app.kubernetes.io/component"], {"phase": "Succeeded"})

    def delete(self, found: dict[str, Any]) -> None:
        self.gone.append(found["metadata"]["name"])

    def log(self, pod: str) -> str:
        return self.logs.get(pod.rpartition("-")[2], "")


@pytest.fixture
def kubelet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubelet]:
    monkeypatch.setattr(probes, "PAUSE_S", 0.01)
    with kube_api(tmp_path, monkeypatch) as api:
        yield Kubelet(api)


def probe(name: str = "plain", arguments: tuple[str, ...] = ("doctor", "x: $(Y)", "--json")) -> list[Finding]:
    cluster = ClusterSettings.model_validate(CLUSTERS[name])
    api = connect(cluster.namespace, section="cluster", retry_seconds=0)
    return list(findings([(probes.CHECK, lambda: probes.probe_findings(cluster, list(arguments), api))]))


@pytest.mark.parametrize("name", CLUSTERS)
def test_pods_are_those_of_runs_without_gpus_and_are_deleted(kubelet: Kubelet, name: str) -> None:
    found = probe(name)
    assert [one for one in found if one.check != probes.CHECK] == FOUND
    assert [one.status for one in found if one.check == probes.CHECK] == ["ok"] * 3
    cluster = ClusterSettings.model_validate(CLUSTERS[name])
    made = {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod for pod in kubelet.made}
    assert set(made) == {"plan", "sample", "train"}
    for stage, pod in made.items():
        kubernetes_validate.validate(pod, "1.33", strict=True)
        (container,) = pod["spec"]["containers"]
        assert container["image"] == cluster.image(stage)
        assert pod["spec"]["serviceAccountName"] == cluster.service_account
        limits = container.get("resources", {}).get("limits", {})
        assert not {"nvidia.com/gpu", "nvidia.com/mig-3g.40gb"} & limits.keys()
        assert not [volume for volume in pod["spec"]["volumes"] if volume["name"] == "model-cache"]
        assert pod["spec"].get("nodeSelector", {}) == (cluster.stage(stage).node_selector or {})
    assert made["plan"]["spec"]["containers"][0]["args"] == ["doctor", "x: $$(Y)", "--json"]
    assert made["train"]["spec"]["containers"][0]["args"] == ["--version"]
    assert sorted(kubelet.gone) == sorted(pod["metadata"]["name"] for pod in kubelet.made)


def test_an_image_that_is_not_there_and_a_missing_secret_are_told_in_kubernetes_words(
    kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "REFUSED_S", 0.0)
    for stage, reason, message in (
        ("plan", "CreateContainerConfigError", 'secret "s3-credentials" not found'),
        ("sample", "ErrImagePull", "manifest unknown"),
    ):
        waiting = {"waiting": {"reason": reason, "message": message}}
        kubelet.status[stage] = {"phase": "Pending", "containerStatuses": [{"name": "doctor", "state": waiting}]}
    failed = [one.message for one in probe() if one.status == "failed"]
    assert len(failed) == 2
    assert any('CreateContainerConfigError: secret "s3-credentials" not found' in text for text in failed)
    assert any("ErrImagePull: manifest unknown" in text for text in failed)
    assert len(kubelet.gone) == 3


def test_an_image_that_is_another_one_says_how_it_failed(kubelet: Kubelet) -> None:
    kubelet.status |= {"plan": {"phase": "Failed"}, "train": {"phase": "Failed"}}
    kubelet.logs |= {"plan": "error: no such option --services\n\n", "train": ""}
    assert {one.message for one in probe() if one.status == "failed"} == {
        "The pod of the stage train failed: its log is empty",
        "The pod of the stage plan failed: error: no such option --services",
    }


def test_findings_of_a_pod_whose_checks_failed_are_kept(kubelet: Kubelet) -> None:
    kubelet.status["plan"] = {"phase": "Failed"}
    assert [one for one in probe() if one.check != probes.CHECK] == FOUND


def test_a_pod_that_takes_too_long_is_no_failure_and_is_deleted(
    kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "LIMIT_S", 2.0)
    kubelet.status["sample"] = {"phase": "Running"}
    (late,) = [one for one in probe() if one.status == "warning"]
    assert "The pod of the stage sample has not ended" in late.message
    assert len(kubelet.gone) == 3


def test_a_missing_right_is_named(kubelet: Kubelet) -> None:
    kubelet.api.forbidden = {("create", "pods")}
    (found,) = probe()
    assert found.status == "failed"
    assert "may not create pods" in found.message


def test_the_command_takes_what_the_pod_prints(
    kubelet: Kubelet, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod's own command runs here, in its place."""
    config = tmp_path / "config.yaml"
    gone = "http://127.0.0.1:9"
    config.write_text(cluster_document(s3={"endpoint": gone}, mlflow={"uri": gone}, kfp={"host": gone}))

    def log(pod: str) -> str:
        (manifest,) = [one for one in kubelet.made if one["metadata"]["name"] == pod]
        (container,) = manifest["spec"]["containers"]
        ran = cli(*(argument.replace("$$", "$") for argument in container["args"]))
        return str(ran.err + ran.out)

    assert load_config(str(config)).cluster is not None
    kubelet.api.logs = log
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("thinksafe.doctor.services.PATIENCE_S", "1")
    ran = cli("doctor", config, "--in-cluster", "--set", "seed=7", "--json")
    found = json.loads(ran.out)
    assert ran.code == 1
    services = [(one["check"], one["status"]) for one in found if one["check"] in ("kubeflow", "mlflow", "bucket")]
    assert sorted(services) == [("bucket", "failed"), ("kubeflow", "failed"), ("mlflow", "failed")]
    assert ["--set=seed=7" in pod["spec"]["containers"][0]["args"] for pod in kubelet.made].count(True) == 1
