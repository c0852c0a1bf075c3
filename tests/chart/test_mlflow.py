"""The bundled MLflow, started for real with the chart's command line, asked as its probes and its clients do."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helm_chart import config_text, manifests, one, value_set

from thinksafe.config import load_config

HOST = "safe-thinksafe-mlflow.kubeflow.svc"


def _server(*names, values=None, folder=None):
    found = manifests(*map(value_set, names), values=values, folder=folder)
    (container,) = one(found, "Deployment", "-mlflow")["spec"]["template"]["spec"]["containers"]
    return found, container


def _probe(container, kind):
    get = container[kind]["httpGet"]
    return get["path"], {header["name"]: header["value"] for header in get.get("httpHeaders", [])}


def test_probes_ask_where_the_host_check_acts():
    _, container = _server("trial")
    for kind in ("startupProbe", "readinessProbe"):
        path, headers = _probe(container, kind)
        assert path.partition("?")[0] not in ("/health", "/version")  # exempt in MLflow 3.17
        assert headers == {"Host": f"{HOST}:5000"}


def test_the_host_of_the_probes_is_the_one_of_clients():
    found, container = _server("trial")
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    assert cluster.mlflow.uri == f"http://{_probe(container, 'readinessProbe')[1]['Host']}"


def test_postgresql_and_s3_need_no_volume():
    found, container = _server("hardened")
    assert not [item for item in found if item["kind"] == "PersistentVolumeClaim"]
    environment = {item["name"]: item for item in container["env"]}
    reference = {"secretKeyRef": {"name": "mlflow-postgresql", "key": "uri"}}
    assert environment["MLFLOW_BACKEND_STORE_URI"]["valueFrom"] == reference
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp"}


def test_a_claim_that_exists_is_used(tmp_path):
    values = {"mlflow": {"persistence": {"existingClaim": "ours"}}}
    found, _ = _server("trial", values=values, folder=tmp_path)
    assert not [item for item in found if item["kind"] == "PersistentVolumeClaim"]
    volumes = one(found, "Deployment", "-mlflow")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "ours"}} in volumes


def test_the_volume_outlives_the_release():
    found, _ = _server("trial")
    annotations = one(found, "PersistentVolumeClaim", "-mlflow")["metadata"]["annotations"]
    assert annotations == {"helm.sh/resource-policy": "keep"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Port and container of a server with the chart's arguments; only paths and port are this machine's."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, container = _server("trial", values={"mlflow": {"allowedHosts": ["mlflow.example.com"]}}, folder=folder)
    assert container["command"] == ["mlflow", "server"]
    arguments = [
        item.replace("/mlflow/", f"{folder}/").replace("--host=0.0.0.0", "--host=127.0.0.1")
        .replace("--port=5000", f"--port={port}")
        for item in container["args"]
    ]
    variables = {item["name"]: item["value"].replace("/mlflow/", f"{folder}/") for item in container["env"]}
    environment = {**os.environ, **variables, "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments], env=environment, stdout=log, stderr=log, cwd=folder,
            start_new_session=True,
        )
    try:
        path, headers = _probe(container, "startupProbe")
        deadline = time.monotonic() + 240
        while _status(port, path, headers) != 200:
            assert process.poll() is None, Path(folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, Path(folder / "log").read_text()[-2000:]
            time.sleep(0.5)
        yield port, container
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _status(port, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_are_green_where_clients_are_served(running, kind):
    port, container = running
    assert _status(port, *_probe(container, kind)) == 200


@pytest.mark.slow
def test_readiness_sees_the_403_that_health_hides(running):
    port, container = running
    path, _ = _probe(container, "readinessProbe")
    other = {"Host": "other.example.org"}
    assert _status(port, path, other) == 403
    assert _status(port, "/health", other) == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "host",
    [
        "safe-thinksafe-mlflow", "safe-thinksafe-mlflow:5000", "safe-thinksafe-mlflow.kubeflow:5000", f"{HOST}:5000",
        f"{HOST}.cluster.local", f"{HOST}.cluster.local:5000", "localhost:5000", "127.0.0.1:8080", "mlflow.example.com",
    ],
)
def test_hosts_that_clients_use_are_served(running, host):
    port, container = running
    assert _status(port, _probe(container, "readinessProbe")[0], {"Host": host}) == 200


@pytest.mark.slow
@pytest.mark.parametrize("host", ["safe-thinksafe-mlflow.evil.example", f"{HOST}.evil.example", "evil.example:5000"])
def test_other_hosts_are_not(running, host):
    port, container = running
    assert _status(port, _probe(container, "readinessProbe")[0], {"Host": host}) == 403
