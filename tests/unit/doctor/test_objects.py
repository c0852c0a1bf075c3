"""Against a server that answers as the Kubernetes API does, with the kubernetes client."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kube_contents import KubeContents

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding, findings
from thinksafe.doctor.objects import kubernetes_checks
from thinksafe.kube.client import connect
from thinksafe_pipelines.kfp.snapshot import CLUSTERS

H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
DIGEST = "sha256:" + "ab" * 32
GPU_TAINT = [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]


@pytest.fixture
def healthy(server: KubeContents) -> KubeContents:
    """All that the cluster ``plain`` asks for."""
    server.put("serviceaccounts", "thinksafe-pipeline")
    server.secret("s3-credentials", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    server.secret("hub-token", token="t")
    server.put("persistentvolumeclaims", "model-cache", spec={"accessModes": ["ReadWriteMany"]})
    images = [{"names": [image]} for image in CLUSTERS["plain"]["images"].values()]
    server.node("cpu-1", images=images)
    release = {"metadata": {"name": "safe-thinksafe-end-stuck"}}
    server.objects["/apis/batch/v1/namespaces/thinksafe/cronjobs"] = {"items": [release]}
    server.node("gpu-1", labels=H100, gpus=8, taints=GPU_TAINT)
    return server


def found(name: str = "plain", **changed: Any) -> dict[str, list[Finding]]:
    cluster = ClusterSettings.model_validate({**copy.deepcopy(CLUSTERS[name]), **changed})
    of: dict[str, list[Finding]] = {}
    for finding in findings(kubernetes_checks(cluster, connect(cluster.namespace, section="cluster"))):
        of.setdefault(finding.check, []).append(finding)
    return of


def troubles(of: dict[str, list[Finding]]) -> list[tuple[str, str]]:
    return [(one.check, one.status) for group in of.values() for one in group if one.status != "ok"]


def test_a_healthy_cluster_has_no_trouble(healthy: KubeContents) -> None:
    of = found()
    assert troubles(of) == []
    assert set(of) == {"service account", "secrets", "images", "admission", "nodes", "storage", "end-stuck"}
    assert "fits 1 of 2 nodes" in of["nodes"][0].message


def test_an_empty_cluster_names_each_missing_thing_and_its_fix(server: KubeContents) -> None:
    server.objects["/api/v1/nodes"] = {"items": []}
    of = found()
    assert [one.status for one in of["service account"]] == ["failed"]
    assert {one.message for one in of["secrets"]} == {
        "There is no Secret s3-credentials in thinksafe.", "There is no Secret hub-token in thinksafe."
    }
    assert of["storage"][0].message == "There is no PersistentVolumeClaim model-cache in thinksafe."
    assert all(one.action for group in of.values() for one in group if one.status == "failed")


def test_the_account_of_the_jobs_is_looked_at_where_they_have_one(healthy: KubeContents) -> None:
    (here, missing) = found(jobs={"service_account": "nodes"})["service account"]
    assert here.status == "ok"
    assert (missing.status, missing.message) == ("failed", "There is no ServiceAccount nodes in thinksafe.")
    assert len(found(jobs={"service_account": "thinksafe-pipeline"})["service account"]) == 1


def test_a_secret_without_the_key_is_named_with_the_keys_that_it_has(healthy: KubeContents) -> None:
    healthy.secret("s3-credentials", AWS_ACCESS_KEY_ID="a", secretKey="hunter2")
    (failure,) = [one for one in found()["secrets"] if one.status == "failed"]
    assert failure.message == "The Secret s3-credentials has no AWS_SECRET_ACCESS_KEY."
    assert "AWS_ACCESS_KEY_ID, secretKey" in failure.action
    assert "hunter2" not in str(failure)


def test_what_may_not_be_read_is_no_failure_and_is_said_once(healthy: KubeContents) -> None:
    healthy.forbidden = {"/secrets/s3-credentials", "/api/v1/nodes"}
    healthy.denied = {"list nodes", "get secrets"}
    of = found()
    assert troubles(of) == [("secrets", "warning"), ("images", "warning"), ("nodes", "warning")]
    assert of["secrets"][1].message == "No permission to read the Secret s3-credentials in thinksafe."


def test_rights_in_multi_user_mode_by_access_review(server: KubeContents) -> None:
    server.denied = {"create jobs", "delete jobs"}
    (failure,) = [one for one in found("multi-user")["rights"] if one.status == "failed"]
    assert failure.message == "No permission to create jobs, delete jobs in team-safety."
    assert "kubeflow-pipelines-edit" in failure.action
    asked = [review for review in server.asked if review.get("group") == "pipelines.kubeflow.org"]
    assert len(asked) == 10
    assert {review["namespace"] for review in asked} == {"team-safety"}


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"labels": H100, "gpus": 0, "taints": GPU_TAINT}, "0 of 1 nvidia.com/gpu"),
        ({"labels": {}, "gpus": 8}, "label nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3"),
        ({"labels": H100, "gpus": 8, "taints": [{"key": "reserved", "effect": "NoSchedule"}]}, "taint reserved"),
        ({"labels": H100, "gpus": 8, "unschedulable": True}, "cordoned"),
    ],
)
def test_nodes_that_do_not_fit_say_why(healthy: KubeContents, node: dict[str, Any], reason: str) -> None:
    del healthy.objects["/api/v1/nodes"]
    healthy.node("only", **node)
    failures = [one for one in found()["nodes"] if one.status == "failed"]
    assert [one.message.split(" ")[0] for one in failures] == ["sample", "judge", "train"]
    assert f"{reason} (1)" in failures[0].message


def test_affinity_and_preferences(server: KubeContents) -> None:
    server.node("small", labels={"gpu-memory-gb": "40"}, gpus=8)
    train = next(one for one in found("multi-user")["nodes"] if one.message.startswith("train"))
    assert train.status == "failed"
    assert "affinity (1)" in train.message
    server.node("large", labels={"gpu-memory-gb": "80"}, gpus=8)
    train = next(one for one in found("multi-user")["nodes"] if one.message.startswith("train"))
    assert train.status == "ok"
    # sample only prefers a zone
    assert next(one for one in found("multi-user")["nodes"] if one.message.startswith("sample")).status == "ok"


def test_images_that_no_node_has_are_named(healthy: KubeContents) -> None:
    of = found(images={**CLUSTERS["plain"]["images"], "sampler": "registry.example.com/other/sampler:1"})
    (unseen,) = [one for one in of["images"] if one.status == "warning"]
    assert unseen.message == "Not looked up in their registry: registry.example.com/other/sampler:1."
    healthy.forbidden = {"/api/v1/nodes"}
    assert [one.status for one in found()["images"]] == ["warning"]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (f"registry.example.com:5000/a/cpu:1@{DIGEST}", f"registry.example.com:5000/a/cpu@{DIGEST}"),
        (f"registry.example.com/cpu@{DIGEST}", f"registry.example.com/cpu@{DIGEST}"),
        ("team/cpu:1", "docker.io/team/cpu:1"), ("cpu:1", "docker.io/library/cpu:1"),
    ],
)
def test_images_are_found_by_the_names_that_nodes_give_them(server: KubeContents, image: str, name: str) -> None:
    server.node("cpu-1", images=[{"names": [name]}])
    assert [one.status for one in found(images=dict.fromkeys(("cpu", "sampler", "trainer"), image))["images"]] == ["ok"]


def test_pull_secrets_cover_the_registries(server: KubeContents) -> None:
    server.pull_secret("registry-corp", "https://registry.corp.example")
    assert [one.status for one in found("disconnected")["image pull"]] == ["ok"]
    server.pull_secret("registry-corp", "elsewhere.example")
    assert [one.status for one in found("disconnected")["image pull"]] == ["ok", "warning"]
    server.secret("registry-corp", password="x")
    assert found("disconnected")["image pull"][0].status == "failed"


def test_storage_classes_and_classes(server: KubeContents) -> None:
    server.storage_class("slow", default=True)
    of = found("disconnected")
    assert "There is no storage class fast" in of["storage"][0].message
    assert "slow" in of["storage"][0].action
    assert [one.message for one in of["classes"]] == [
        "There is no PriorityClass batch-low.", "There is no RuntimeClass nvidia."
    ]
    server.storage_class("fast")
    server.objects["/apis/scheduling.k8s.io/v1/priorityclasses/batch-low"] = {
        "metadata": {"name": "batch-low"}, "value": 1
    }
    server.objects["/apis/node.k8s.io/v1/runtimeclasses/nvidia"] = {"metadata": {"name": "nvidia"}, "handler": "nvidia"}
    of = found("disconnected")
    assert [one.status for one in [*of["storage"], *of["classes"]]] == ["ok"] * 3


@pytest.mark.parametrize(("data", "status", "words"), [
    (
        {"workflowDefaults": "spec: {templateDefaults: {retryStrategy: {limit: 2, retryPolicy: OnError}}}"}, "ok",
        "Argo replaces lost pods only (OnError)",
    ),
    (
        {"config": "workflowDefaults: {spec: {templateDefaults: {retryStrategy: {retryPolicy: Always}}}}"}, "warning",
        "has retryPolicy Always: Argo also retries pods that failed, and whole sub-pipelines",
    ),
    ({"executor": "imagePullPolicy: Always"}, "warning", "names no retryPolicy: Argo retries pods that failed"),
    ({"workflowDefaults": "spec: ["}, "warning", "names no retryPolicy"),
])
def test_what_argo_retries(healthy: KubeContents, data: dict[str, str], status: str, words: str) -> None:
    healthy.put("configmaps", "workflow-controller-configmap", namespace="kubeflow", data=data)
    (finding,) = found()["retries"]
    assert finding.status == status
    assert words in finding.message
    assert ("retryPolicy: OnError" in finding.action) == (status != "ok")
    healthy.forbidden = {"/configmaps/workflow-controller-configmap"}
    assert "retries" not in found()


def test_a_claim_for_one_node_is_a_warning(healthy: KubeContents) -> None:
    healthy.put("persistentvolumeclaims", "model-cache", spec={"accessModes": ["ReadWriteOnce"]})
    assert [one.status for one in found()["storage"]] == ["warning"]


def test_the_bundled_mlflow_waits_for_a_default_storage_class(healthy: KubeContents) -> None:
    def storage(**claim: Any) -> list[Finding]:
        healthy.put("persistentvolumeclaims", "safe-mlflow", **claim)
        of = found(mlflow={"uri": "http://safe-mlflow.thinksafe.svc:5000"})
        return [one for one in of["storage"] if "safe-mlflow" in one.message]

    (failure,) = storage(spec={}, status={"phase": "Pending"})
    assert failure.status == "failed"
    assert "the cluster has no default one" in failure.message
    assert "mlflow.persistence.storageClass" in failure.action
    (waiting,) = storage(spec={"storageClassName": "slow"}, status={"phase": "Pending"})
    assert waiting.status == "warning"
    assert storage(spec={"storageClassName": "slow"}, status={"phase": "Bound"}) == []
    healthy.forbidden = {"/safe-mlflow"}
    assert storage(spec={}, status={"phase": "Pending"}) == []


def test_a_slow_api_does_not_hold_the_doctor_up(healthy: KubeContents) -> None:
    healthy.delay = 3
    cluster = ClusterSettings.model_validate(CLUSTERS["plain"])
    api = connect("thinksafe", section="cluster")
    checks = [check for check in kubernetes_checks(cluster, api) if check[0] == "nodes"]
    (finding,) = findings(checks, limit=0.5)
    assert (finding.check, finding.status) == ("nodes", "failed")
    assert "No answer within" in finding.message
