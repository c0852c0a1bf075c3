"""The Kubernetes API over HTTP: what is applied, and every way in which it can fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_api import KubeApi, ready_deployment
from kube_http import kube_api
from rollouts import DIGEST, TARGET, settings_of

from thinksafe.config.deploy import DeploySettings
from thinksafe.deploy import readiness as waiting
from thinksafe.deploy.manifests import manifests
from thinksafe.deploy.readiness import wait_until_ready
from thinksafe.errors import ConfigError, StageError
from thinksafe.kube.client import KubernetesClient, connect
from thinksafe.kube.refusals import FieldConflictError, ForbiddenError

SETTINGS = settings_of()


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 0.01)
    with kube_api(tmp_path, monkeypatch) as api:
        api.controller = ready_deployment
        yield api


@pytest.fixture
def cluster(api: KubeApi) -> KubernetesClient:
    return connect("serving", section="deploy", retry_seconds=2.0)


def apply(cluster: KubernetesClient, *, force: bool = False, **changed: Any) -> None:
    for manifest in manifests(settings_of(**changed), TARGET):
        cluster.apply(manifest, force=force)


def test_apply_owns_its_fields_only(api: KubeApi, cluster: KubernetesClient) -> None:
    apply(cluster)
    calls = [request for request in api.requests if request.method == "PATCH"]
    assert [call.path for call in calls] == [
        "/api/v1/namespaces/serving/services/guarded", "/apis/apps/v1/namespaces/serving/deployments/guarded",
    ]
    for call in calls:
        assert call.query == {"fieldManager": "thinksafe", "force": "false", "fieldValidation": "Strict"}
        assert call.content == "application/apply-patch+yaml"
    api.apply("deployments", "guarded", "cost-team", {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"annotations": {"cost-centre": "7"}}, "spec": {"minReadySeconds": 30},
    }, force=False)
    apply(cluster, replicas=2)
    found = api.objects["deployments", "guarded"]
    assert found["metadata"]["annotations"]["cost-centre"] == "7"
    assert (found["spec"]["minReadySeconds"], found["spec"]["replicas"]) == (30, 2)


def test_replicas_are_given_up_to_an_autoscaler(api: KubeApi, cluster: KubernetesClient) -> None:
    apply(cluster)
    apply(cluster, replicas=None)
    assert "replicas" not in api.objects["deployments", "guarded"]["spec"]


def test_a_conflict_names_owner_field_and_step(api: KubeApi, cluster: KubernetesClient) -> None:
    api.apply("deployments", "guarded", "keda", {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": {"replicas": 5},
    }, force=False)
    with pytest.raises(FieldConflictError) as caught:
        apply(cluster)
    assert "'guarded' in the namespace 'serving'" in caught.value.problem
    assert "keda owns .spec.replicas. Nothing was changed." in caught.value.problem
    assert "deploy.replicas: null" in caught.value.action
    assert "deploy.take_over=true" in caught.value.action
    assert api.objects["deployments", "guarded"]["spec"] == {"replicas": 5}
    apply(cluster, force=True)
    assert api.objects["deployments", "guarded"]["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("verb", "plural", "group"), [("patch", "deployments", "apps"), ("patch", "services", "")]
)
def test_what_is_forbidden_says_what_to_grant(
    api: KubeApi, cluster: KubernetesClient, verb: str, plural: str, group: str
) -> None:
    api.forbidden.add((verb, plural))
    with pytest.raises(StageError) as caught:
        apply(cluster)
    assert f"system:serviceaccount:serving:rollout may not {verb} {plural}" in caught.value.problem
    assert f'apiGroups: ["{group}"], resources: ["{plural}"], verbs: ["{verb}"]' in caught.value.action


def test_the_right_to_create_is_named_where_it_is_missing(api: KubeApi, cluster: KubernetesClient) -> None:
    message = 'deployments.apps is forbidden: User "ann" cannot create resource "deployments" in API group "apps"'
    api.fault("PATCH", "deployments", "status", code=403, message=message)
    with pytest.raises(StageError, match="ann may not create deployments") as caught:
        apply(cluster)
    assert 'verbs: ["create"]' in caught.value.action


def test_what_is_only_looked_at(api: KubeApi) -> None:
    cluster = connect("thinksafe", section="cluster", retry_seconds=0.5)
    assert cluster.get("Secret", "hub-token") is None
    assert cluster.plurals("trainer.kubeflow.org", "v1alpha1") == set()
    api.contents.secret("hub-token", token="t")
    api.contents.trainer()
    api.contents.node("gpu-1")
    assert set((cluster.get("Secret", "hub-token") or {})["data"]) == {"token"}
    assert "trainjobs" in cluster.plurals("trainer.kubeflow.org", "v1alpha1")
    assert cluster.get("ClusterTrainingRuntime", "torch-distributed") is not None
    assert [node["metadata"]["name"] for node in cluster.find("Node")] == ["gpu-1"]
    assert not [request.path for request in api.requests if request.path in ("/version", "/apis", "/api/v1")]


def test_a_missing_right_outside_namespaces_names_no_namespace(api: KubeApi) -> None:
    api.contents.forbidden = {"/api/v1/nodes"}
    with pytest.raises(ForbiddenError, match=r"may not list nodes\.") as caught:
        connect("thinksafe", section="cluster").find("Node")
    assert 'resources: ["nodes"], verbs: ["list"]' in caught.value.action


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_wait_that_is_forbidden_ends_at_once(api: KubeApi, cluster: KubernetesClient, verb: str) -> None:
    api.controller = lambda found: None
    apply(cluster)
    api.forbidden.add((verb, "deployments"))
    with pytest.raises(StageError, match=f"may not {verb} deployments") as caught:
        wait_until_ready(cluster, SETTINGS, DIGEST)
    assert f'verbs: ["{verb}"]' in caught.value.action


@pytest.mark.parametrize(
    ("code", "message", "problem", "action"),
    [
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted"', "policy forbids", "exception"),
        (404, "namespaces not found", "There is no deployments", "Create the namespace"),
        (422, "spec.template: Invalid value", "refuses .*Invalid value", "Correct the section deploy"),
        (409, "the object has been modified", "HTTP 409: the object has been modified", "again"),
    ],
)
def test_other_refusals(
    api: KubeApi, cluster: KubernetesClient, code: int, message: str, problem: str, action: str
) -> None:
    api.fault("PATCH", "deployments", "status", code=code, message=message)
    with pytest.raises(StageError, match=problem) as caught:
        apply(cluster)
    assert action in caught.value.action


def test_without_kserve(api: KubeApi, cluster: KubernetesClient) -> None:
    api.fault("PATCH", "inferenceservices", "status", code=404, message="the server could not find it")
    with pytest.raises(StageError, match=r"no inferenceservices.serving.kserve.io") as caught:
        apply(cluster, kind="inference-service")
    assert "Install KServe" in caught.value.action


@pytest.mark.parametrize("action", ["drop", "status"])
@pytest.mark.parametrize("code", [429, 503])
def test_what_passes_by_waiting_is_tried_again(api: KubeApi, cluster: KubernetesClient, action: str, code: int) -> None:
    for path in ("services", "deployments"):
        api.fault("PATCH", path, action, code=code, times=2)
    apply(cluster)
    assert len([request for request in api.requests if request.method == "PATCH"]) == 6
    assert ("deployments", "guarded") in api.objects


def test_an_api_that_does_not_come_back(api: KubeApi) -> None:
    api.fault("PATCH", "services", "drop", times=1000)
    with pytest.raises(StageError, match=r"The Kubernetes API at http://127.* does not answer"):
        apply(connect("serving", section="deploy", retry_seconds=0.5))


def test_a_slow_api_is_waited_for(api: KubeApi, cluster: KubernetesClient) -> None:
    api.fault("PATCH", "deployments", "delay", seconds=0.5)
    api.fault("GET", "deployments", "delay", seconds=0.5)
    apply(cluster)
    assert wait_until_ready(cluster, SETTINGS, DIGEST).ready


def test_wrong_credentials(api: KubeApi, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace("secret-token", "stale"))
    with pytest.raises(StageError, match="does not accept the credentials"):
        apply(connect("serving", section="deploy"))


def test_no_cluster(api: KubeApi, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with the context 'elsewhere'"):
        connect("serving", "elsewhere", section="deploy")
    (tmp_path / "kubeconfig").unlink()
    with pytest.raises(ConfigError, match="There is no Kubernetes cluster"):
        connect("serving", section="deploy")


class TestReadiness:
    """Of a Deployment that becomes ready 0.4 s after it was applied."""

    @pytest.fixture(autouse=True)
    def slowly(self, api: KubeApi) -> None:
        api.controller_seconds = 0.4

    def watches(self, api: KubeApi) -> list[str]:
        return [request.query["resourceVersion"] for request in api.requests if request.method == "WATCH"]

    def test_it_is_watched_for(self, api: KubeApi, cluster: KubernetesClient) -> None:
        apply(cluster)
        began = time.monotonic()
        assert wait_until_ready(cluster, SETTINGS, DIGEST).ready
        assert time.monotonic() - began < 5
        assert len(self.watches(api)) == 1
        assert len([request for request in api.requests if request.method == "GET"]) == 1

    @pytest.mark.parametrize("action", ["drop", "half", "status"])
    def test_a_dropped_watch_goes_on_where_it_was(self, api: KubeApi, cluster: KubernetesClient, action: str) -> None:
        api.fault("WATCH", "deployments", action, times=2)
        apply(cluster)
        version = str(api.version)
        assert wait_until_ready(cluster, SETTINGS, DIGEST).ready
        assert self.watches(api) == [version] * 3
        assert len([request for request in api.requests if request.method == "GET"]) == 1

    @pytest.mark.parametrize("action", ["gone", "status"])
    def test_after_gone_it_is_looked_at_again(self, api: KubeApi, cluster: KubernetesClient, action: str) -> None:
        api.fault("WATCH", "deployments", action, code=410)
        apply(cluster)
        assert wait_until_ready(cluster, SETTINGS, DIGEST).ready
        assert len([request for request in api.requests if request.method == "GET"]) == 2

    def test_the_status_of_an_older_generation_says_nothing(self, api: KubeApi, cluster: KubernetesClient) -> None:
        apply(cluster)
        assert wait_until_ready(cluster, SETTINGS, DIGEST).ready
        api.controller = lambda found: None
        apply(cluster, options={"max_model_len": 9})
        state = wait_until_ready(cluster, SETTINGS, DIGEST, seconds=0.5)
        assert (state.ready, state.reason) == (
            False, "not ready after 0.5 s: its controller has not seen the change yet"
        )

    def test_the_deadline_says_why_pods_do_not_run(self, api: KubeApi, cluster: KubernetesClient) -> None:
        api.controller = lambda found: {
            **ready_deployment(found), "availableReplicas": 0, "updatedReplicas": 1, "replicas": 2
        }
        api.pods = [{"status": {
            "initContainerStatuses": [{"name": "adapter", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                                       "lastState": {"terminated": {"exitCode": 1}}}],
            "containerStatuses": [{"name": "vllm", "state": {"waiting": {"reason": "PodInitializing"}}}],
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                            "message": "0/3 nodes have nvidia.com/gpu"}],
        }}]
        apply(cluster)
        state = wait_until_ready(cluster, SETTINGS, DIGEST, seconds=1)
        assert state.reason == (
            "not ready after 1 s: 1 of 1 pods are new, 0 available, 1 old left; container adapter: CrashLoopBackOff, "
            "exit code 1; not scheduled: Unschedulable: 0/3 nodes have nvidia.com/gpu"
        )
        api.forbidden.add(("list", "pods"))
        assert wait_until_ready(cluster, SETTINGS, DIGEST, seconds=0.1).reason.endswith("1 old left")

    def test_a_rollout_that_cannot_succeed_ends_the_wait(self, api: KubeApi, cluster: KubernetesClient) -> None:
        api.controller = lambda found: {
            "observedGeneration": found["metadata"]["generation"],
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
        }
        apply(cluster)
        state = wait_until_ready(cluster, SETTINGS, DIGEST)
        assert (state.ready, state.failed, state.reason) == (False, True, "ProgressDeadlineExceeded")

    def test_an_outage_while_waiting_is_ridden_out(self, api: KubeApi, cluster: KubernetesClient) -> None:
        api.controller_seconds = 1.0
        apply(cluster)
        api.fault("WATCH", "deployments", "drop", times=1000)
        threading.Timer(1.2, api.faults.clear).start()
        assert wait_until_ready(cluster, SETTINGS, DIGEST).ready


def pod(digest: str, ready: str = "True", **metadata: Any) -> Any:
    return {
        "metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]},
        "spec": {"containers": [{"name": "x", "args": ["--lora-modules", f"guarded=/adapters/{digest}"]}]},
    }


@pytest.mark.parametrize("kind", ["inference-service", "llm-inference-service"])
class TestKserve:
    """Whose objects say when they are ready and where, and whose pods say with which adapter."""

    @pytest.fixture
    def settings(self, api: KubeApi, cluster: KubernetesClient, kind: str) -> DeploySettings:
        self.ready = "True"
        api.controller = lambda found: {
            "observedGeneration": 1 if kind == "inference-service" else found["metadata"]["generation"],
            "conditions": [{"type": "Ready", "status": self.ready, "reason": "NotYet"}],
            "address": {"url": "http://guarded.serving.svc.cluster.local"},
        }
        api.pods = [pod(DIGEST)]
        return settings_of(kind=kind)

    def test_ready(self, api: KubeApi, cluster: KubernetesClient, settings: DeploySettings, kind: str) -> None:
        self.ready = "False"
        apply(cluster, kind=kind)
        assert wait_until_ready(cluster, settings, DIGEST, seconds=0.5).reason == "not ready after 0.5 s: NotYet"
        self.ready = "True"
        apply(cluster, kind=kind, options={"max_model_len": 9})
        state = wait_until_ready(cluster, settings, DIGEST, seconds=5)
        assert (state.ready, state.url) == (True, "http://guarded.serving.svc.cluster.local")

    @pytest.mark.parametrize(
        ("pods", "reason"),
        [
            ([], "0 of 0 pods have"), ([pod("e" * 64)], "0 of 1 pods have"),
            ([pod("e" * 64), pod(DIGEST)], "1 of 2 pods have the new model, 1 of these are ready"),
            ([pod(DIGEST), pod(DIGEST, "False")], "2 of 2 pods have the new model, 1 of these are ready"),
        ],
    )
    def test_pods_that_are_old_or_not_ready(
        self, api: KubeApi, cluster: KubernetesClient, settings: DeploySettings, kind: str, pods: list[Any], reason: str
    ) -> None:
        api.pods = pods
        apply(cluster, kind=kind)
        assert reason in wait_until_ready(cluster, settings, DIGEST, seconds=0.5).reason

    def test_old_pods_are_waited_for(
        self, api: KubeApi, cluster: KubernetesClient, settings: DeploySettings, kind: str
    ) -> None:
        api.pods = [pod("e" * 64), pod(DIGEST, "False")]
        apply(cluster, kind=kind)
        threading.Timer(
            0.5, lambda: setattr(api, "pods", [pod("e" * 64, deletionTimestamp="now"), pod(DIGEST)])
        ).start()
        assert wait_until_ready(cluster, settings, DIGEST, seconds=10).ready
