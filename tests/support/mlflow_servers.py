"""MLflow servers over HTTP for tests, and what a run needs that reaches them: adapters, registrations, decisions."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from thinksafe.registry.mlflow_client import connect

SECONDS = 240


class MlflowServer:
    """``mlflow server`` with one worker; can be killed, frozen and started again at the same address.

    Args:
        folder: Its database, where it is SQLite, and its log.
        database: SQLAlchemy URI; a SQLite file in ``folder`` by default.
        artifacts: ``s3://`` root to which clients upload themselves; empty: the server keeps the files in ``folder``.
        options: More of the command line.
        environment: Variables of the server.
    """

    def __init__(
        self, folder: Path, *, database: str = "", artifacts: str = "", options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder, self._process = folder, None
        self._database = database or f"sqlite:///{folder / 'mlflow.db'}"
        if not database:
            connect(self._database)  # makes the tables faster than the server does
        place = (
            ["--default-artifact-root", artifacts, "--no-serve-artifacts"] if artifacts
            else ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
        )
        self._command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", *place, *options,
        ]
        ours = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": self._database}
        self._environment = {**os.environ, **ours, **(environment or {})}

    _process: subprocess.Popen[bytes] | None

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, cwd=self._folder, start_new_session=True
            )
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
            except OSError:
                assert self._process.poll() is None, self.log[-2000:]
                assert time.monotonic() < deadline, f"the server did not start: {self.log[-2000:]}"
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        """Kill -9 of the server and its worker."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def mlflow_server(
    folder: Path, *, database: str = "", artifacts: str = "", options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[MlflowServer]:
    """Start a server, see :class:`MlflowServer`, and kill it in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    server = MlflowServer(folder, database=database, artifacts=artifacts, options=options, environment=environment)
    try:
        server.start()
        yield server
    finally:
        server.kill()
