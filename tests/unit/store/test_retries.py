"""The back-off loop: what it repeats, how long, and what it leaves alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from thinksafe.errors import ConfigError, DamagedError
from thinksafe.store.retries import FIRST_WAIT, LONGEST_WAIT, VARIABLE, default_retry_seconds, retried


class Weather:
    """A clock that only waits move, and a server that is down until some time on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waits, self.calls = 1000.0, list[float](), 0
        monkeypatch.setattr("thinksafe.store.retries.time.monotonic", lambda: self.now)
        monkeypatch.setattr("thinksafe.store.retries.time.sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def down_until(self, end: float, *, takes: float = 0.0) -> Callable[[], str]:
        def action() -> str:
            self.calls += 1
            self.now += takes
            if self.now < end:
                raise TimeoutError
            return "done"

        return action


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch) -> Weather:
    return Weather(monkeypatch)


def transient(error: BaseException) -> bool:
    return isinstance(error, TimeoutError)


def test_an_outage_of_two_minutes_is_ridden_out(weather: Weather) -> None:
    assert retried(weather.down_until(1120), transient, 180, "read x") == "done"
    for place, wait in enumerate(weather.waits):
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2**place)
        assert bound / 2 <= wait <= bound
    assert len(set(weather.waits)) == len(weather.waits), "without jitter, many clients come back at once"


def test_a_longer_one_ends_in_the_error_itself(weather: Weather) -> None:
    with pytest.raises(TimeoutError):
        retried(weather.down_until(5000), transient, 180, "read x")
    assert 180 - LONGEST_WAIT <= weather.now - 1000 <= 180
    assert weather.calls == len(weather.waits) + 1


def test_a_long_transfer_is_tried_again(weather: Weather) -> None:
    """The time counts from the failure, not from the start of what took long."""
    assert retried(weather.down_until(2001, takes=1000), transient, 180, "write x") == "done"
    assert weather.calls == 2


def test_zero_seconds_is_one_attempt(weather: Weather) -> None:
    with pytest.raises(TimeoutError):
        retried(weather.down_until(2000), transient, 0, "read x")
    assert (weather.calls, weather.waits) == (1, [])


def test_what_does_not_pass_is_raised_at_once(weather: Weather) -> None:
    def refused() -> None:
        weather.calls += 1
        raise PermissionError

    with pytest.raises(PermissionError):
        retried(refused, transient, 180, "read x")
    assert (weather.calls, weather.waits) == (1, [])


@pytest.mark.parametrize(("damaged", "calls"), [(1, 2), (2, 3), (9, 3)])
def test_damage_is_read_again_twice(weather: Weather, damaged: int, calls: int) -> None:
    def read() -> str:
        weather.calls += 1
        if weather.calls <= damaged:
            raise DamagedError("x", "y")
        return "done"

    if damaged > 2:
        with pytest.raises(DamagedError):
            retried(read, transient, 180, "read x")
    else:
        assert retried(read, transient, 180, "read x") == "done"
    assert weather.calls == calls


def test_seeded_random_numbers_are_left_alone(weather: Weather) -> None:
    random.seed(3)
    before = random.getstate()
    retried(weather.down_until(1020), transient, 180, "read x")
    assert weather.waits
    assert random.getstate() == before


def test_the_first_failure_is_said_once(weather: Weather, caplog: pytest.LogCaptureFixture) -> None:
    retried(weather.down_until(1060), transient, 180, "read s3://bucket/key")
    (record,) = caplog.records
    assert record.getMessage() == "Could not read s3://bucket/key (TimeoutError); trying again for up to 180 s."


def test_the_time_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert default_retry_seconds() == 180
    monkeypatch.setenv(VARIABLE, " 2.5 ")
    assert default_retry_seconds() == 2.5
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(ConfigError, match=VARIABLE):
            default_retry_seconds()
