"""Reaching MLflow: addresses and errors. Servers are in tests/integration."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("API request to endpoint failed with error code 413 != 200. Response body: '<html>", "body limit"),
        ("413 Client Error: Request Entity Too Large for url: http://mlflow", "body limit"),
        ("An error occurred (413) when calling the PutObject operation: Request Entity Too Large", "body limit"),
        ("An error occurred (XAmzContentSHA256Mismatch) when calling the PutObject operation", "when_required"),
        ("An error occurred (InvalidRequest) ... x-amz-content-sha256 must be UNSIGNED-PAYLOAD", "when_required"),
        ("An error occurred (NotImplemented) when calling the PutObject operation: header", "when_required"),
        ("Failed to upload: Unable to locate credentials", "AWS_ACCESS_KEY_ID"),
        ("An error occurred (SignatureDoesNotMatch) when calling the PutObject operation", "AWS_ACCESS_KEY_ID"),
        ("API request failed with error code 500 != 200", "see its log"),
    ],
)
def test_what_to_do_is_named(answer: str, names: str) -> None:
    with pytest.raises(ThinkSafeError) as caught, reporting("http://mlflow:5000", "write the runs"):
        raise RuntimeError(answer)
    assert names in caught.value.action
    assert (caught.value.exit_code in FINAL) == (names == "body limit")


class OldStore(BaseHTTPRequestHandler):
    """An object store that refuses the newer checksums, as many do."""

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        new = any(name.lower().startswith(("x-amz-trailer", "x-amz-checksum", "x-amz-sdk")) for name in self.headers)
        body = b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>" if new else b""
        self.send_response(400 if new else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def old_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    with ThreadingHTTPServer(("127.0.0.1", 0), OldStore) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("chosen", ["", "when_required", "when_supported"])
def test_uploads_past_the_server_reach_an_older_store(
    old_store: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository, _cached_get_s3_client

    if chosen:
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", chosen)
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", old_store)
    _cached_get_s3_client.cache_clear()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    connect(uri)
    file = tmp_path / "report.html"
    file.write_bytes(b"x" * 1000)

    def upload() -> None:
        with reporting(uri, "write the runs"):
            S3ArtifactRepository("s3://bucket/runs").log_artifact(str(file))

    if chosen != "when_supported":
        upload()
        return
    with pytest.raises(StageError) as caught:
        upload()
    assert "AWS_REQUEST_CHECKSUM_CALCULATION" in caught.value.action
