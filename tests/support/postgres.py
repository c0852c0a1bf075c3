"""A throw-away PostgreSQL, for tests that want MLflow's server as a team runs it.

Needs Debian's postgresql. The cluster lives in one folder, listens on the loopback interface, asks for a password and
does not wait for the disk. PostgreSQL refuses to run as root; there it runs as the user ``postgres``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD, DATABASE = "ann", "not@shown/anywhere", "postgres"
ESCAPED = "not%40shown%2Fanywhere"
SECONDS = 60
PROGRAMS = ("initdb", "postgres")


def missing() -> str:
    """Return why no PostgreSQL can be started here; empty when it can."""
    if absent := [name for name in PROGRAMS if _program(name) is None]:
        return f"PostgreSQL is not installed (no {', '.join(absent)})"
    try:
        import psycopg2  # noqa: F401
    except ImportError:
        return "psycopg2-binary is not installed"
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv"
    return ""


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start an empty cluster and yield it; stops and removes it in the end.

    Raises:
        RuntimeError: it did not come up; the message ends with its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="thinksafe-postgres-"))
    server = Postgres(folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


class Postgres:
    """A cluster in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._folder, self._process = folder, None

    _process: subprocess.Popen[bytes] | None

    @property
    def uri(self) -> str:
        """The database for SQLAlchemy, password included."""
        return f"postgresql+psycopg2://{USER}:{ESCAPED}@127.0.0.1:{self.port}/{DATABASE}"

    def new_database(self, name: str) -> str:
        """Create an empty database and return its URI."""
        import psycopg2

        connection = psycopg2.connect(self.uri.replace("+psycopg2", ""))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        return f"{self.uri.rpartition('/')[0]}/{name}"

    def create(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (self._folder, secret):
                shutil.chown(path, "postgres")
        command = [
            "initdb", "-D", str(self._folder / "data"), "-U", USER, "--pwfile", str(secret), "--no-sync",
            "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C",
        ]
        done = subprocess.run(self._as_user(command), capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr[-800:]}")

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
            "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": 60,
        }
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        command = self._as_user(["postgres", "-D", str(self._folder / "data"), *options])
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True
            )
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not come up: {(self._folder / 'log').read_text()[-800:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop at once, as a crash does; :meth:`start` recovers."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop answering, connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        # Each connection is served by a process that leads a session of its own.
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for process in (self._process.pid, *map(int, children)):
            os.kill(process, number)

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.uri.replace("+psycopg2", ""), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    @staticmethod
    def _as_user(command: list[str]) -> list[str]:
        program = _program(command[0])
        assert program is not None, missing()
        if os.getuid() == 0:
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--reset-env"]
            return [*user, program, *command[1:]]
        return [program, *command[1:]]


def _program(name: str) -> str | None:
    """Return the newest installed version's program; Debian keeps them off PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(debian[-1]) if debian else shutil.which(name)


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    with postgres() as running:
        print(f"MLFLOW_BACKEND_STORE_URI={running.uri}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
