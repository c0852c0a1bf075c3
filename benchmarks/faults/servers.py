"""The servers that the stages talk to: S3 (Ceph's gateway, moto's server) and MLflow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.processes import ROOT, clean_environment

sys.path.insert(0, str(ROOT / "tests" / "support"))  # the servers of the tests

from ceph import S3Server, ceph_s3, missing_programs
from flaky_proxy import Fault, FlakyProxy, Kind
from s3_servers import BUCKET, moto_s3

__all__ = [
    "Bucket", "Fault", "FlakyProxy", "Kind", "Mlflow", "ceph_bucket", "free_port", "missing_programs",
    "moto_bucket",
]

START_SECONDS = 120


@dataclass(frozen=True)
class Bucket:
    """A bucket on a running server."""

    name: str
    """Kind of the server, for the table."""
    server: S3Server

    def root(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.server.environment)

    def through(self, proxy: FlakyProxy) -> dict[str, str]:
        """Return the environment of a stage that reaches the server through a proxy."""
        return {**self.environment, "AWS_ENDPOINT_URL": proxy.endpoint}

    def use(self) -> None:
        """Point this process's own S3 clients at the server."""
        os.environ.update(self.environment)


@contextmanager
def ceph_bucket(folder: Path) -> Iterator[Bucket]:
    """Start Ceph's gateway with a bucket; its objects are on disk."""
    with ceph_s3(folder, persistent=True) as server:
        yield _with_bucket("Ceph", server)


@contextmanager
def moto_bucket() -> Iterator[Bucket]:
    """Start moto's server with a bucket."""
    with moto_s3() as server:
        yield _with_bucket("moto", server)


def _with_bucket(name: str, server: S3Server) -> Bucket:
    from thinksafe.store.s3 import s3_client

    bucket = Bucket(name, server)
    bucket.use()
    s3_client().create_bucket(Bucket=BUCKET)
    return bucket


class Mlflow:
    """A tracking server with SQLite and proxied artifacts that can be killed and started again on its port."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self.port = folder, port
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}", "--serve-artifacts",
            "--artifacts-destination", str(self._folder / "artifacts"),
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True,
                env=clean_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true"),
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"MLflow did not start: {(self._folder / 'log').read_text()[-800:]}") from None
                time.sleep(0.2)

    def kill(self) -> None:
        """Kill the server and its workers with SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
