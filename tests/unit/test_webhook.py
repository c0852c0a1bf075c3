"""One POST, as often as it helps, and no word of the address."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from webhook_receiver import Receiver, webhook_receiver

from thinksafe import webhook
from thinksafe.webhook import post


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    with webhook_receiver() as running:
        monkeypatch.setenv("HOOK", running.address)
        yield running


def test_it_is_told_once(receiver: Receiver) -> None:
    assert post("HOOK", {"event": "x"}) == (False, "called: status 204")
    assert receiver.heard == [("/T0/sesame", "application/json", {"event": "x"})]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_receiver_is_told_again(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, status]
    assert post("HOOK", {}) == (False, "called: status 204")
    assert len(receiver.heard) == 3


def test_it_is_given_up(receiver: Receiver) -> None:
    receiver.statuses = [503] * 9
    assert post("HOOK", {}) == (True, "failed: status 503")
    assert len(receiver.heard) == 3


@pytest.mark.parametrize("status", [302, 307, 400, 404, 410, 500])
def test_a_refusal_stands_and_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    assert post("HOOK", {}) == (True, f"failed: status {status}")
    assert [path for path, _, _ in receiver.heard] == ["/T0/sesame"]


def test_who_may_have_heard_is_not_told_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT", 0.1)
    receiver.seconds = 0.5
    assert post("HOOK", {}) == (True, "failed: ReadTimeout")
    assert len(receiver.heard) == 1


def test_a_receiver_that_comes_up_is_told(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))  # refuses as long as nobody listens
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{door.getsockname()[1]}/late")

        def come_up() -> None:
            door.listen()
            receiver.process_request(*door.accept())

        def wait(_: float) -> None:
            threading.Thread(target=come_up, daemon=True).start()
            pause(0.2)

        pause = time.sleep
        monkeypatch.setattr(time, "sleep", wait)
        assert post("HOOK", {}) == (False, "called: status 204")
    assert [path for path, _, _ in receiver.heard] == ["/late"]


def test_the_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{receiver.server_port}")
    monkeypatch.setenv("HOOK", "http://chat.example/sesame")
    assert post("HOOK", {"event": "x"}) == (False, "called: status 204")
    assert receiver.heard == [("http://chat.example/sesame", "application/json", {"event": "x"})]


def test_the_address_is_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    with caplog.at_level(logging.DEBUG):
        for address in ("http://127.0.0.1:9/sesame", "https://127.0.0.1:9/sesame", "http://[sesame", "http:///sesame",
                        "http://127.0.0.1:sesame/", "http://sesame\n.example/"):
            monkeypatch.setenv("HOOK", address)
            answer = post("HOOK", {})
            assert answer.failed
            assert "sesame" not in answer.words
    assert "sesame" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("address", ["", "ftp://x", "file:///etc/passwd", "example.com"])
def test_what_is_no_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HOOK", address)
    assert post("HOOK", {}) == (True, "not called: HOOK holds no http address")


def test_none_is_named() -> None:
    assert post("", {}) == (False, "none is named")
