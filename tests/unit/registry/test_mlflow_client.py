"""Reaching MLflow: addresses and errors. Servers are in tests/integration."""

from __future__ import annotations

import socket

import pytest

from thinksafe.errors import ConfigError, StageError, ThinkSafeError
from thinksafe.registry.mlflow_client import connect, reporting, resolve_tracking_uri
from thinksafe.run.attempts import FINAL


def test_a_refused_connection_names_the_address_and_no_secret() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        uri = resolve_tracking_uri(f"http://ann:hunter22@127.0.0.1:{port}")
        with pytest.raises(StageError, match=f"MLflow at http://127.0.0.1:{port} could not connect") as caught:
            connect(uri)
    assert "hunter22" not in str(caught.value)
    assert "start the same command again" in caught.value.action


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///srv/mlruns"])
def test_a_folder_is_no_server(uri: str) -> None:
    with pytest.raises(ConfigError, match="not a server or database"):
        resolve_tracking_uri(uri)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("http://mlflow.team.svc:5000", "mlflow.team.svc"), ("https://ann:pw@mlflow.example/base", "mlflow.example"),
        ("http://mlflow:5000/", "mlflow"), ("http://[::1]:5000", "[::1]"),
    ],
)
def test_the_host_to_allow_is_named(uri: str, host: str) -> None:
    with pytest.raises(ConfigError) as caught, reporting(uri, "connect"):
        raise RuntimeError("403. Response body: 'Invalid Host header - possible DNS rebinding attack detected'")
    assert f" {host} and {host}:* in its --allowed-hosts" in caught.value.action


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("API request to endpoint failed with error code 401 != 200", ConfigError),
        ("API request to endpoint failed with error code 403 != 200", ConfigError),
        ("PERMISSION_DENIED: no", ConfigError),
        ("API request to endpoint failed with error code 503 != 200", StageError),
        ("API request to endpoint failed with error code 429 != 200", StageError),
    ],
)
def test_a_refusal_is_final_and_a_failing_server_is_not(answer: str, kind: type[ThinkSafeError]) -> None:
    with pytest.raises(kind) as caught, reporting("http://mlflow:5000", "connect"):
        raise RuntimeError(answer)
    assert (caught.value.exit_code in FINAL) == (kind is ConfigError)
