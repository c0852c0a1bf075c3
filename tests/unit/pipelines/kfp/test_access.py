"""How KFP's API is reached: tokens, certificates, the proxy of the Kubernetes API; and what its refusals say."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cluster_configs import cluster_document
from kfp_server import KfpServer, kfp_server
from kube_api import KubeApi
from published import cluster_of, document, publish

from thinksafe.config.cluster import ClusterSettings
from thinksafe.errors import ConfigError, StageError
from thinksafe_pipelines.kfp import publishing
from thinksafe_pipelines.kfp.access import speaking
from thinksafe_pipelines.kfp.schedules import scheduled, unschedule
from thinksafe_pipelines.kfp.snapshot import CLUSTERS

pytestmark = pytest.mark.usefixtures("compiled_once")

def test_multi_user_mode_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", "sesame")
    with kfp_server(multi_user=True, token="sesame") as server:
        text = document(server, "multi-user", {"multi_user": True, "access": "token", "experiment": "safety"})
        done = publishing.publish(cluster_of(text), text, [])
        assert publishing.publish(cluster_of(text), text, []).changes == []
        assert server.pipelines[0]["namespace"] == server.experiments[0]["namespace"] == "team-safety"
        assert server.recurring_runs[0]["recurring_run_id"] == done.recurring_run_id



def test_a_wrong_token_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", "wrong")
    with kfp_server(token="sesame") as server, pytest.raises(StageError, match="answered 401") as refused:
        publish(server, kfp={"access": "token"})
    assert "token" in refused.value.action
    assert "wrong" not in str(refused.value)



def test_no_token_is_a_matter_of_the_configuration(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KFP_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="KFP_TOKEN is not set"):
        publish(server, kfp={"access": "token"})



@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", r"KFP_TOKEN is not set and .*token is empty"), (b"SECRET\nSECRET\n", "token holds is no token"),
        (b"\xff\xfeSECRET", "token holds no text"), ("SECR\u00c9T".encode(), "token holds is no token"),
    ],
)
def test_a_file_without_a_token_is_named_and_not_shown(
    server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bytes, said: str
) -> None:
    monkeypatch.delenv("KFP_TOKEN", raising=False)
    (tmp_path / "token").write_bytes(held)
    with pytest.raises(ConfigError, match=said) as refused:
        publish(server, kfp={"access": "token", "token_file": str(tmp_path / "token")})
    assert "SECR" not in str(refused.value)



def test_a_workstation_is_told_the_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cluster = ClusterSettings.model_validate({**CLUSTERS["plain"], "kfp": {"namespace": "no-such-place"}})
    with pytest.raises(StageError) as lost, speaking(cluster):
        raise OSError
    assert "--set cluster.kfp.access=port-forward" in lost.value.action
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(StageError) as lost, speaking(cluster):
        raise OSError
    assert "port-forward" not in lost.value.action



def test_the_servers_own_words_are_told() -> None:
    with kfp_server(multi_user=True) as server, pytest.raises(StageError, match=r"answered 400 \(namespace is empty"):
        publish(server)



def test_a_token_from_a_file(server: KfpServer, tmp_path: Path) -> None:
    server.token = "sesame"
    (tmp_path / "token").write_text("sesame\n")
    assert publish(server, kfp={"access": "token", "token_file": str(tmp_path / "token")}).changes



def test_a_pod_shows_the_token_of_its_service_account(
    server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "projected"
    (tmp_path / "token").write_text("projected")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert publish(server).changes



def test_without_a_kubeconfig_a_port_forward_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    text = cluster_document(kfp={"access": "port-forward"})
    with pytest.raises((ConfigError, StageError)) as refused:
        publishing.publish(cluster_of(text), text, [])
    assert "kube" in str(refused.value).lower()



def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    text = cluster_document(kfp={"host": f"http://127.0.0.1:{port}"})
    with pytest.raises(StageError, match=f"127.0.0.1:{port} cannot be reached"):
        publishing.publish(cluster_of(text), text, [])


FORWARDED = {"access": "port-forward"}



def test_everything_goes_through_the_kubernetes_api(server: KfpServer, kubernetes: KubeApi) -> None:
    text = cluster_document(kfp=FORWARDED)
    done = publishing.publish(cluster_of(text), text, [])
    assert server.changes == [
        "POST pipelines", "POST pipelines/upload_version", "POST experiments", "POST recurringruns"
    ]
    assert publishing.publish(cluster_of(text), text, []).changes == []
    assert server.packages[done.version_id][0]["pipelineInfo"]["name"] == "realign"
    _, run = publishing.submit(cluster_of(text), text, [], "by hand")
    assert [made["run_id"] for made in server.runs] == [run]
    assert scheduled(cluster_of(text))[0].recurring_run_id == done.recurring_run_id
    assert unschedule(cluster_of(text)).removed == [done.recurring_run_id]
    assert "POST /apis/v2beta1/recurringruns" in kubernetes.contents.proxied
    assert not any("healthz" in request for request in kubernetes.contents.proxied)



def test_the_forwarded_service_is_looked_for_in_kubeflows_namespace(
    server: KfpServer, kubernetes: KubeApi
) -> None:
    kubernetes.contents.services = {"pipelines/ml-pipeline": server.address}
    text = cluster_document(kfp={**FORWARDED, "namespace": "pipelines"})
    assert publishing.publish(cluster_of(text), text, []).changes
    text = cluster_document(kfp=FORWARDED)
    with pytest.raises(StageError, match="the service ml-pipeline in kubeflow answered 503") as refused:
        publishing.publish(cluster_of(text), text, [])
    assert "cluster.kfp.namespace" in refused.value.action



def test_who_may_not_use_the_proxy_hears_which_right_it_takes(kubernetes: KubeApi) -> None:
    kubernetes.contents.forbidden = {"kubeflow/ml-pipeline"}
    text = cluster_document(kfp=FORWARDED)
    with pytest.raises(StageError, match="answered 403") as refused:
        publishing.publish(cluster_of(text), text, [])
    assert "services/proxy in kubeflow" in refused.value.action



def test_a_kubeconfig_whose_login_ran_out(kubernetes: KubeApi) -> None:
    kubernetes.token = "another"
    text = cluster_document(kfp=FORWARDED)
    with pytest.raises(StageError, match="answered 401") as refused:
        publishing.publish(cluster_of(text), text, [])
    assert "Log in again" in refused.value.action
