"""A reverse proxy in front of a server: it can demand credentials, and it can fail as networks and servers do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["", "cut", "lose", "hang", "500", "503", "echo", "login"]
"""Nothing; the connection closed before, or after, the server got the request; no answer; an error; "come back in an
hour"; the credentials sent back; a page for people."""
_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "date", "server"}


@dataclass
class Proxy:
    """What a proxy does and saw; ``fault`` is asked for each request with its number, from 0, method and path."""

    backend: int
    host: str = ""
    """Host header for the backend; its address by default."""
    authorised: Callable[[str], bool] = lambda header: True
    fault: Callable[[int, str, str], Fault] = lambda number, method, path: ""
    after: Callable[[], object] = lambda: None
    """Called when the backend has carried out a request whose answer is lost."""
    seen: list[str] = field(default_factory=list)
    port: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def reverse_proxy(backend: int, **options: object) -> Iterator[Proxy]:
    """Serve a port of this machine through a :class:`Proxy` at another."""
    proxy = Proxy(backend, **options)  # type: ignore[arg-type]
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                number = len(proxy.seen)
                proxy.seen.append(f"{self.command} {self.path.partition('?')[0]}")
            fault = proxy.fault(number, self.command, self.path)
            header = self.headers.get("Authorization", "")
            if fault == "hang":
                proxy.closed.wait(120)
            if fault in ("cut", "hang"):
                self.close_connection = True
            elif fault == "500":
                self.answer(500, b"Internal Server Error")
            elif fault == "503":
                self.answer(503, b"Service Unavailable", {"Retry-After": "3600"})
            elif fault == "login":
                self.answer(200, b"<!doctype html><title>Sign in</title>")
            elif fault == "echo":
                self.answer(400, f"Bad request with Authorization: {header}".encode())
            elif not proxy.authorised(header):
                self.answer(401, b"Unauthorized")
            else:
                self.forward(body, silent=fault == "lose")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def forward(self, body: bytes, *, silent: bool) -> None:
            onward = http.client.HTTPConnection("127.0.0.1", proxy.backend, timeout=120)
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
            try:
                headers["Host"] = proxy.host or f"127.0.0.1:{proxy.backend}"
                onward.request(self.command, self.path, body or None, headers)
                response = onward.getresponse()
                content = response.read()
            except OSError:
                self.answer(502, b"Bad Gateway")
                return
            finally:
                onward.close()
            if silent:
                proxy.after()
                self.close_connection = True
            else:
                kept = {key: value for key, value in response.getheaders() if key.lower() not in _HOP}
                self.answer(response.status, content, kept)

        def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *args: object) -> None:
            time.sleep(0)  # a client that went away

    server = Server(("127.0.0.1", 0), Handler)
    proxy.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.closed.set()
        server.shutdown()
        server.server_close()
