from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.records import Interval
from thinksafe.text import bracket, clean, count, duration, label, percent, plural, points, utc

# lone surrogates, controls, marks that reverse direction, combining marks
ANYTHING = st.text(st.characters(), max_size=900)


@given(ANYTHING)
def test_cleaned_text_can_be_laid_out(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= 400 + len("… (1,000,000 more characters)")
    for character in shown:
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
        assert character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
    shown.encode()


@given(st.text(st.sampled_from("abc <>&\"'{}$%"), max_size=400))
def test_plain_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


def test_long_text_says_how_much_was_cut() -> None:
    assert clean("x" * 1400) == "x" * 400 + "… (1,000 more characters)"


def test_towers_of_accents_are_cut() -> None:
    assert clean("e" + "\u0301" * 100) == "e" + "\u0301" * 4


@given(ANYTHING, st.integers(2, 60))
def test_labels_are_one_short_line(text: str, limit: int) -> None:
    shown = label(text, limit)
    assert len(shown) <= limit
    assert "\n" not in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.1234, "12.3\u00a0%"), (0.0, "0.0\u00a0%"), (-0.0001, "0.0\u00a0%"), (-0.012, "\u22121.2\u00a0%"), (None, "–")],  # noqa: RUF001
)
def test_percent(value: float | None, shown: str) -> None:
    assert percent(value) == shown
    assert points(value) == shown.replace("%", "points")


def test_bracket() -> None:
    interval = Interval(low=-0.0261, high=0.0004, confidence=0.9, method="m")
    assert bracket(interval) == "[\u22122.6, 0.0]"
    assert bracket(None) == "–"  # noqa: RUF001


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90_061, "25 h 1 min")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_counts_and_times() -> None:
    assert (count(1234567), count(None), count(float("nan"))) == ("1,234,567", "–", "–")  # noqa: RUF001
    assert (plural(1, "check"), plural(2, "check")) == ("1 check", "2 checks")
    assert utc(0) == "1970-01-01 00:00:00 UTC"
    assert utc(1e300) == "–"  # noqa: RUF001
