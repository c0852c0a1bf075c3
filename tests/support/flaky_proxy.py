"""A reverse HTTP proxy that breaks on purpose, between a client and a real server.

The client is pointed at the proxy, the proxy at the server; what goes wrong is a list of :class:`Fault`::

    with moto_s3() as server, FlakyProxy(server.endpoint) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
        proxy.add(Fault("lost", method="PUT", path="/promotions/"))        # carried out, but nobody is told; once
        proxy.add(Fault("status", times=None, seconds=60))                 # 503 for a minute from the next request on
        proxy.add(Fault("cut", method="GET", skip=2))                      # the third read ends in the middle
        proxy.refuse(30)                                                   # gone: connections are refused for 30 s
        ...
        assert [seen.fault for seen in proxy.seen].count("lost") == 1      # always check that the fault struck

A request meets the first fault that fits it. Everything else goes through byte for byte, signed headers and Host
included. HTTP only, loopback only, any number of threads; bodies of requests are held in memory.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

BLOCK = 1 << 16
TIMEOUT = 120
"""Seconds after which a silent server counts as broken."""
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "expect", "transfer-encoding", "te", "upgrade"})

Kind = Literal["status", "lost", "late", "cut", "cut upload", "reset", "delay", "slow", "refuse"]


@dataclass(frozen=True)
class Fault:
    """What happens to which requests."""

    kind: Kind
    """``status``: answered with ``code`` and an S3 error ``error``; the server never sees the request.
    ``lost``: carried out by the server; after ``wait`` seconds the connection closes without an answer.
    ``late``: the connection closes at once, and ``wait`` seconds later the server gets the request after all.
    ``cut``: the answer's head and the first ``share`` of its body, then, after ``wait`` seconds, the connection closes.
    ``cut upload``: the server gets ``share`` of the request's body and then a closed connection; so does the client.
    ``reset``: the connection is reset (RST) before the server sees the request.
    ``delay``: carried out after ``wait`` seconds.
    ``slow``: the answer's body comes at ``rate`` bytes a second.
    ``refuse``: the connection closes, and new ones are refused for ``wait`` seconds."""
    method: str = ""
    """Method that it applies to; empty for all."""
    path: str = ""
    """Regular expression searched in the path with its query, as sent."""
    skip: int = 0
    """Fitting requests that go through first."""
    times: int | None = 1
    """Requests that it strikes at most; None for any number."""
    seconds: float | None = None
    """It ends so long after it struck first; None for never."""
    chance: float = 1.0
    """Part of the fitting requests that it strikes, drawn from the proxy's seed."""
    code: int = 503
    error: str = "ServiceUnavailable"
    wait: float = 0.0
    after: threading.Event | None = None
    """``late``: the server gets the request when this is set, instead of after ``wait`` seconds."""
    landed: threading.Event = field(default_factory=threading.Event)
    """``late``: set when the server has answered."""
    share: float = 0.5
    rate: int = BLOCK


@dataclass(frozen=True)
class Seen:
    """One request that came in."""

    method: str
    path: str
    fault: str
    """Kind of the fault that struck it; empty when it went through."""
    time: float
    """``time.monotonic()`` of its arrival."""


class _Live:
    """A fault with what is left of it."""

    def __init__(self, fault: Fault) -> None:
        self.fault, self.skip, self.times = fault, fault.skip, fault.times
        self.ends: float | None = None

    def strikes(self, method: str, path: str, draw: random.Random) -> bool:
        fault = self.fault
        over = self.times == 0 or (self.ends is not None and time.monotonic() > self.ends)
        if over or fault.method not in ("", method) or not re.search(fault.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if draw.random() >= fault.chance:
            return False
        if self.times is not None:
            self.times -= 1
        if self.ends is None and fault.seconds is not None:
            self.ends = time.monotonic() + fault.seconds
        return True


class FlakyProxy:
    """The proxy; a context manager that listens between enter and exit."""

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"not http://host:port: {upstream}")
        self.server = (parts.hostname, parts.port)
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._faults: list[_Live] = []
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        # bound but not listening: it keeps the port ours while connections are refused
        self._place = _bound(0)
        self.port = int(self._place.getsockname()[1])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.refuse()
        self._place.close()

    def add(self, *faults: Fault) -> None:
        """Put faults at the end of the plan."""
        with self._lock:
            self._faults += [_Live(fault) for fault in faults]

    def clear(self) -> None:
        """Forget all faults and listen again; ``seen`` stays."""
        with self._lock:
            self._faults.clear()
        self.listen()

    def refuse(self, seconds: float | None = None) -> None:
        """Close all connections and refuse new ones, for some seconds or until :meth:`listen`."""
        with self._lock:
            listener, self._listener = self._listener, None
            sockets = [*self._open, *([listener] if listener else [])]
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        if listener:
            listener.close()
        if seconds is not None:
            timer = threading.Timer(seconds, self.listen)
            timer.daemon = True
            timer.start()

    def listen(self) -> None:
        """Accept connections again."""
        with self._lock:
            if self._listener or self.closing.is_set():
                return
            self._listener = _bound(self.port)
            self._listener.listen(128)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def strike(self, method: str, path: str) -> Fault | None:
        """Note a request and return the fault that strikes it."""
        with self._lock:
            struck = next((one.fault for one in self._faults if one.strikes(method, path, self._random)), None)
            self.seen.append(Seen(method, path, struck.kind if struck else "", time.monotonic()))
        return struck

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._listener is not listener:
                    connection.close()
                    return
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: tuple[str, int]) -> None:
        try:
            with suppress(OSError, http.client.HTTPException):
                _Handler(connection, address, self)  # type: ignore[arg-type]
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FlakyProxy  # type: ignore[assignment]

    def log_message(self, *args: object) -> None:
        pass

    def _relay(self) -> None:
        method, path, *_ = self.requestline.split()
        body = self._body()
        fault = self.server.strike(method, path)
        kind = fault.kind if fault else ""
        if not fault or kind in ("cut", "slow"):
            self._answer(method, path, body, fault)
        elif kind == "delay":
            if not self.server.closing.wait(fault.wait):
                self._answer(method, path, body, None)
        elif kind == "status":
            self._error(fault, method)
        else:
            self.close_connection = True
            if kind == "lost":
                with self._forward(method, path, body) as upstream:
                    upstream.getresponse().read()
                self.server.closing.wait(fault.wait)
            elif kind == "late":
                threading.Thread(target=self._later, args=(method, path, body, fault), daemon=True).start()
            elif kind == "cut upload":
                self._forward(method, path, body, int(len(body) * fault.share)).close()
            elif kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif kind == "refuse":
                self.server.refuse(fault.wait)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = _relay  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            blocks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                blocks.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(blocks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, method: str, path: str, body: bytes, send: int | None = None) -> _Upstream:
        """Send a request on; only the first ``send`` bytes of its body when that is given."""
        upstream = _Upstream(*self.server.server, timeout=TIMEOUT)
        upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP and name.lower() != "content-length":
                upstream.putheader(name, value)
        if body or method in ("PUT", "POST", "PATCH"):
            upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders(body[:send])
        return upstream

    def _later(self, method: str, path: str, body: bytes, fault: Fault) -> None:
        if fault.after is not None:
            fault.after.wait(TIMEOUT)
        if not self.server.closing.wait(fault.wait):
            with suppress(OSError, http.client.HTTPException), self._forward(method, path, body) as upstream:
                upstream.getresponse().read()
        fault.landed.set()

    def _answer(self, method: str, path: str, body: bytes, fault: Fault | None) -> None:
        with self._forward(method, path, body) as upstream:
            answer = upstream.getresponse()
            length = answer.length  # None where the body is chunked
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            empty = method == "HEAD" or answer.status in (204, 304)
            chunked = length is None and not empty
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if empty:
                return
            kind = fault.kind if fault else ""
            if fault and kind == "cut":
                data = answer.read()
                part = data[: int(len(data) * fault.share)]
                self.wfile.write(b"%x\r\n%b" % (len(data), part) if chunked else part)
                self.server.closing.wait(fault.wait)
                self.close_connection = True
                return
            for block in _blocks(answer, fault.rate // 10 or 1 if fault else BLOCK):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
                if fault and self.server.closing.wait(0.1):
                    return
            if chunked:
                self.wfile.write(b"0\r\n\r\n")

    def _error(self, fault: Fault, method: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{fault.error}</Code><Message>on purpose</Message></Error>".encode()
        self.send_response_only(fault.code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if method != "HEAD":
            self.wfile.write(text)


class _Upstream(http.client.HTTPConnection):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _blocks(answer: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    while block := answer.read(size):
        yield block


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made
