"""The proxy that the fault tests stand on does to a request what it says, and nothing else."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flaky_proxy import Fault, FlakyProxy

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, str, bytes, str]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) == int(self.headers["Content-Length"]):
            self.server.got.append((self.command, self.path, body, self.headers["Host"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.got.append((self.command, self.path, b"", self.headers["Host"]))
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))
        else:
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def proxy(server: Server) -> Iterator[FlakyProxy]:
    with FlakyProxy(f"http://127.0.0.1:{server.server_port}") as made:
        yield made


def ask(proxy: FlakyProxy, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/a%20b?x=1&y=%2F", "/chunked", "//twice"])
def test_without_a_fault_all_goes_through(proxy: FlakyProxy, server: Server, path: str) -> None:
    assert ask(proxy, "GET", path) == (200, CONTENT)
    assert ask(proxy, "PUT", path, CONTENT) == (200, b"")
    assert [entry[2] for entry in server.got] == [b"", CONTENT]
    assert {entry[3] for entry in server.got} == {f"127.0.0.1:{proxy.port}"}, "a signature covers Host"
    assert [(seen.method, seen.path, seen.fault) for seen in proxy.seen] == [("GET", path, ""), ("PUT", path, "")]


def test_lost_is_carried_out(proxy: FlakyProxy, server: Server) -> None:
    proxy.add(Fault("lost", method="PUT"))
    assert ask(proxy, "GET", "/a")[0] == 200
    with pytest.raises(http.client.RemoteDisconnected):
        ask(proxy, "PUT", "/a", b"x")
    assert server.got[1][2] == b"x"
    assert ask(proxy, "PUT", "/a", b"y")[0] == 200


def test_late_is_carried_out_later(proxy: FlakyProxy, server: Server) -> None:
    proxy.add(Fault("late", wait=0.5))
    with pytest.raises(http.client.RemoteDisconnected):
        ask(proxy, "PUT", "/a", b"x")
    assert not server.got
    deadline = time.monotonic() + 20
    while not server.got and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.got[0][2] == b"x"


@pytest.mark.parametrize("path", ["/a", "/chunked"])
def test_cut_answers_end_early(proxy: FlakyProxy, path: str) -> None:
    proxy.add(Fault("cut", share=0.25))
    with pytest.raises(http.client.IncompleteRead) as raised:
        ask(proxy, "GET", path)
    assert raised.value.partial == (CONTENT[: len(CONTENT) // 4] if path == "/a" else b"")
    assert ask(proxy, "GET", path) == (200, CONTENT)


@pytest.mark.parametrize("kind", ["cut upload", "reset"])
def test_the_server_keeps_nothing_of_a_broken_request(proxy: FlakyProxy, server: Server, kind: str) -> None:
    proxy.add(Fault(kind))  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        ask(proxy, "PUT", "/a", CONTENT)
    assert not server.got


def test_status_holds_for_its_time_and_skips(proxy: FlakyProxy, server: Server) -> None:
    proxy.add(Fault("status", path="^/a", skip=1, times=None, seconds=0.7, error="SlowDown"))
    assert ask(proxy, "GET", "/a")[0] == 200
    assert ask(proxy, "GET", "/b")[0] == 200
    started = time.monotonic()
    status, text = ask(proxy, "GET", "/a")
    assert (status, b"<Code>SlowDown</Code>" in text) == (503, True)
    while ask(proxy, "GET", "/a")[0] == 503:
        time.sleep(0.05)
    assert time.monotonic() - started >= 0.7
    assert sum(seen.fault == "status" for seen in proxy.seen) >= 2
    assert len(server.got) == 3


def test_refused_for_a_while(proxy: FlakyProxy) -> None:
    proxy.add(Fault("refuse", wait=3.0))
    with pytest.raises(ConnectionError):
        ask(proxy, "GET", "/a")
    started, refusals = time.monotonic(), 0
    while True:
        try:
            assert ask(proxy, "GET", "/a")[0] == 200
            break
        except ConnectionError as error:  # one that was accepted before the port was closed ends without an answer
            refusals += isinstance(error, ConnectionRefusedError)
            time.sleep(0.05)
    assert refusals
    assert time.monotonic() - started > 0.5


def test_delayed_and_slow_answers_are_whole(proxy: FlakyProxy) -> None:
    proxy.add(Fault("delay", wait=0.4), Fault("slow", rate=len(CONTENT) * 2))
    for _ in range(2):
        started = time.monotonic()
        assert ask(proxy, "GET", "/a") == (200, CONTENT)
        assert time.monotonic() - started > 0.3


def test_chance_is_drawn_from_the_seed(server: Server) -> None:
    drawn = []
    for _ in range(2):
        with FlakyProxy(f"http://127.0.0.1:{server.server_port}", seed=7) as proxy:
            proxy.add(Fault("status", times=None, chance=0.5))
            drawn.append([ask(proxy, "GET", "/a")[0] for _ in range(30)])
    assert drawn[0] == drawn[1]
    assert 5 < drawn[0].count(503) < 25
