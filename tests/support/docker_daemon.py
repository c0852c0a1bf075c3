"""A server that speaks as much of the Docker Engine API as a run needs, and dies when told to.

Its containers are processes of this machine, with the command and the environment that the client asked for; images
are only names. What it cannot show is what a real daemon does with mounts, users and rights: tests/e2e has that.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

API = "1.44"


@dataclass
class Container:
    """A process and what it printed."""

    body: dict[str, Any]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class DockerDaemon:
    """The daemon's state."""

    folder: Path
    """For the logs of containers."""
    path: str
    """Of the commands."""
    containers: dict[str, Container] = field(default_factory=dict)
    dies_before: str = ""
    """Stage at whose creation it dies."""
    silent: threading.Event = field(default_factory=threading.Event)
    """Set: requests get no answer any more."""
    breaks: int = 0
    """So many waits are broken off."""
    waits: int = 0
    host: str = ""
    _http: Any = None
    _open: set[socket.socket] = field(default_factory=set)

    def die(self) -> None:
        """Close the door and all connections; processes stay, as containers do without their daemon."""
        self._http.socket.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def create(self, body: dict[str, Any]) -> str:
        if self.dies_before and self.dies_before in body["Cmd"][:2]:
            self.die()
            raise ConnectionAbortedError
        name = uuid.uuid4().hex
        self.containers[name] = Container(body, self.folder / f"{name}.log")
        return name

    def start(self, found: Container) -> None:
        given = dict(item.split("=", 1) for item in found.body["Env"])
        with found.log.open("wb") as stream:
            found.process = subprocess.Popen(
                found.body["Cmd"], env={**given, "PATH": self.path}, stdout=stream, stderr=subprocess.STDOUT,
            )


def _handler(daemon: DockerDaemon) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            daemon._open.add(self.connection)

        def finish(self) -> None:
            daemon._open.discard(self.connection)
            with suppress(OSError):
                super().finish()

        def log_message(self, *values: object) -> None:
            pass

        def send(self, code: int, value: Any = None) -> None:
            data = b"" if value is None else json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Api-Version", API)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def answer(self) -> None:
            try:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                while daemon.silent.is_set():
                    time.sleep(0.05)
                self.respond(re.sub(r"^/v[0-9.]+", "", self.path).split("?")[0], json.loads(body) if body else {})
            except OSError:  # it died, or the client went away
                self.close_connection = True

        def respond(self, path: str, body: dict[str, Any]) -> None:
            if path == "/_ping":
                return self.send(200, "OK")
            if path == "/version":
                return self.send(200, {"ApiVersion": API, "MinAPIVersion": "1.24", "Version": "27.0"})
            if path.startswith("/images/"):
                return self.send(200, {"Id": "sha256:1", "RepoTags": []})
            if path == "/containers/json":
                return self.send(200, [])
            if path == "/containers/create":
                return self.send(201, {"Id": daemon.create(body), "Warnings": []})
            _, _, name, *rest = path.split("/")
            found = daemon.containers.get(name)
            if found is None:
                return self.send(404, {"message": f"No such container: {name}"})
            match (self.command, *rest):
                case ("GET", "json"):
                    return self.send(200, {"Id": name, "Config": {"Tty": False}, "State": {"Running": found.running}})
                case ("POST", "start"):
                    daemon.start(found)
                    return self.send(204)
                case ("POST", "wait"):
                    return self.wait(found)
                case ("POST", "kill"):
                    if not found.running:
                        return self.send(409, {"message": "is not running"})
                    assert found.process is not None
                    number = re.search(r"signal=(\w+)", self.path)
                    found.process.send_signal(signal.Signals[number[1] if number else "SIGKILL"])
                    return self.send(204)
                case ("GET", "logs"):
                    return self.logs(found)
                case ("DELETE",):
                    if found.running:
                        assert found.process is not None
                        found.process.kill()
                    del daemon.containers[name]
                    return self.send(204)
            return self.send(404, {"message": "page not found"})

        def wait(self, found: Container) -> None:
            daemon.waits += 1
            if daemon.breaks:
                daemon.breaks -= 1
                self.close_connection = True
                return self.connection.shutdown(socket.SHUT_RDWR)
            assert found.process is not None
            code = found.process.wait()
            return self.send(200, {"StatusCode": 128 - code if code < 0 else code})

        def logs(self, found: Container) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.docker.raw-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with found.log.open("rb") as stream:
                while True:
                    running = found.running
                    if data := stream.read():
                        frame = struct.pack(">BxxxL", 1, len(data)) + data
                        self.wfile.write(f"{len(frame):x}\r\n".encode() + frame + b"\r\n")
                    elif not running:
                        break
                    else:
                        time.sleep(0.02)
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - names of the base class

    return Handler


@contextmanager
def docker_daemon(folder: Path, path: str = os.environ["PATH"]) -> Iterator[DockerDaemon]:
    """Run a daemon while the context lasts; ``path`` is where its containers find commands."""
    daemon = DockerDaemon(folder, path)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(daemon))
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign]
    daemon._http, daemon.host = http, f"tcp://127.0.0.1:{http.server_port}"

    def serve() -> None:
        with suppress(OSError, ValueError):  # the door is closed when it dies
            http.serve_forever(poll_interval=0.05)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield daemon
    finally:
        daemon.silent.clear()
        for found in list(daemon.containers.values()):  # requests that were held go on, and may delete some
            if found.running:
                assert found.process is not None
                found.process.kill()
                found.process.wait()
        daemon.die()
