"""Addresses at which a server does not answer as it should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest


@contextmanager
def refusing() -> Iterator[int]:
    """A port at which connections are refused."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield int(unused.getsockname()[1])


@contextmanager
def silent() -> Iterator[int]:
    """A server that takes connections and never answers: a load balancer before nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield int(server.getsockname()[1])


@contextmanager
def dripping(answer: Callable[[], bytes]) -> Iterator[int]:
    """A server that gives the pieces of an endless answer, one each second: no single read ever times out."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:

        def drip(connection: socket.socket) -> None:
            with connection:
                connection.recv(65536)
                try:
                    while not stop.wait(1):
                        connection.sendall(answer())
                except OSError:
                    pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])
        stop.set()


@contextmanager
def swallowing(name: str, monkeypatch: pytest.MonkeyPatch, addresses: int = 2) -> Iterator[int]:
    """A port of a host name with several addresses, all of which drop what is sent to them, as a firewall does.

    Linux drops the first packet of a connection to a server whose queue is full; skips where it does not.
    """
    hosts = [f"127.0.0.{2 + index}" for index in range(addresses)]
    with ExitStack() as stack:
        first = stack.enter_context(socket.socket())
        first.bind((hosts[0], 0))
        port = int(first.getsockname()[1])
        servers = [first]
        for host in hosts[1:]:
            servers.append(stack.enter_context(socket.socket()))
            servers[-1].bind((host, port))
        for host, server in zip(hosts, servers, strict=True):
            server.listen(0)
            for _ in range(8):  # fill the queue
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((host, port))
        for host in hosts:
            with socket.socket() as probe:
                probe.settimeout(1)
                try:
                    probe.connect((host, port))
                except TimeoutError:
                    continue
                pytest.skip(f"this kernel accepts connections to {host} beyond the queue's length")
        real = socket.getaddrinfo

        def resolve(host: object, *args: object, **kwargs: object) -> object:
            if host != name:
                return real(host, *args, **kwargs)  # type: ignore[arg-type]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        yield port
