from __future__ import annotations

import threading
import time

import pytest

from thinksafe.deadlines import Bounded, within


class Killed(BaseException):
    pass


class Server:
    name = "server"

    def __init__(self) -> None:
        self.calls = 0
        self.answer = threading.Event()

    def add(self, one: int, *, two: int) -> int:
        self.calls += 1
        return one + two

    def hang(self) -> None:
        self.calls += 1
        self.answer.wait(30)

    def fail_late(self) -> None:
        self.calls += 1
        time.sleep(0.2)
        raise ConnectionError("no route")

    def fail(self) -> None:
        raise Killed("of the caller")


def test_what_a_call_returns_or_raises_comes_back() -> None:
    server = Bounded(Server(), 30)
    assert server.add(1, two=2) == 3
    assert server.name == "server"
    with pytest.raises(Killed, match="of the caller"):
        server.fail()
    with pytest.raises(AttributeError):
        server.nothing()


def test_a_call_that_hangs_is_given_up_and_the_next_is_not_tried() -> None:
    real = Server()
    server = Bounded(real, 0.05)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="no answer within 0 s"):
            server.hang()
    with pytest.raises(TimeoutError):
        server.add(1, two=2)
    assert real.calls == 1
    real.answer.set()


def test_a_call_that_failed_late_is_not_tried_again_but_one_that_failed_at_once_is() -> None:
    real = Server()
    server = Bounded(real, 60)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="no route"):
            server.fail_late()
    assert real.calls == 2
    server.seconds = 0.3
    for _ in range(2):
        with pytest.raises(ConnectionError, match="no route"):
            server.fail_late()
    assert real.calls == 3


def test_a_call_that_was_given_up_does_not_keep_the_process() -> None:
    with pytest.raises(TimeoutError):
        within(0.01, time.sleep, 3)
    [thread] = [found for found in threading.enumerate() if found.name.startswith("within")]
    assert thread.daemon
    thread.join()
