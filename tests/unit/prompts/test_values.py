"""Cells of tables: missing values, numbers as texts, what filters match."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import InputError
from thinksafe.prompts.values import (
    Filters,
    blank,
    is_text,
    matches,
    plain,
    repeated,
    require_unicode,
    text_of,
)

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.none() | st.booleans() | NUMBERS | st.text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), ("", ""), (" x ", " x "), ("nan", "nan"), ("1.0", "1.0"),
        (True, "true"), (False, "false"),
        (72, "72"), (72.0, "72"), (-72.0, "-72"), (0.0, "0"), (-0.0, "0"), (0.1, "0.1"), (0.5, "0.5"), (1e3, "1000"),
        (1e16, "10000000000000000"), (1e20, "100000000000000000000"), (1e-7, "0.0000001"), (2.5e-5, "0.000025"),
        (1e21, "1e+21"), (1e-9, "1e-09"), (123456789.125, "123456789.125"),
        (Decimal("0.10"), "0.1"), (Decimal("1E+3"), "1000"), (Decimal("72.00"), "72"), (Decimal("0.00"), "0"),
    ],
)
def test_texts(value: Any, text: str) -> None:
    assert text_of(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_from_its_text(value: float) -> None:
    text = text_of(value)
    assert float(text) == value
    assert len(text) <= max(len(repr(value)), 24)
    assert not text.endswith(".0")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (True, "true"), (True, "True"), (False, "false"), (False, "FALSE"),
        (1, "1"), (1.0, "1"), (1, "1.0"), (1.5, "1.5"), (1.5, "1.50"), (-0.0, "0"), (Decimal("2.50"), "2.5"),
        (1e3, "1000"), (10**30, str(10**30)), ("x", "x"), ("true", "true"), ("1.0", "1.0"), (None, ""), ("", ""),
    ],
)
def test_filters_match(value: Any, wanted: str) -> None:
    assert matches(value, wanted)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (True, "1"), (False, "0"), (True, "yes"), (False, ""), (1, "true"), (0, "false"), (0, ""), (1, "one"),
        (1.5, "1"), (0.1, "0.10000000149011612"), ("x", "X"), ("x ", "x"), ("01", "1"), ("1.0", "1"), ("True", "true"),
        (None, "None"), (None, "nan"), (10**30, str(10**30 + 1)), (math.inf, "1"),
    ],
)
def test_filters_do_not_match(value: Any, wanted: str) -> None:
    assert not matches(value, wanted)


@given(CELLS)
def test_every_cell_matches_its_own_text(value: Any) -> None:
    assert matches(value, text_of(value))


@given(NUMBERS, NUMBERS)
def test_different_numbers_never_match(one: float, other: float) -> None:
    assert matches(one, text_of(other)) == (one == other)


@given(st.recursive(CELLS | st.just(math.nan), lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_nothing_but_nan_goes_missing(value: Any) -> None:
    def same(before: Any, after: Any) -> bool:
        if isinstance(before, float) and math.isnan(before):
            return after is None
        if isinstance(before, list):
            return len(before) == len(after) and all(map(same, before, after))
        if isinstance(before, dict):
            return list(before) == list(after) and all(same(before[key], after[key]) for key in before)
        return bool(before == after)

    assert same(value, plain(value))


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u00a0", "\u200b", "\ufeff", "\u2060 \u00ad", "\x00", "\u3000"])
def test_blank(text: str) -> None:
    assert blank(text)


@pytest.mark.parametrize("text", ["0", ".", "-", "\u00e4", "\u4e2d", "\U0001f600", " x ", "\u200bx"])
def test_not_blank(text: str) -> None:
    assert not blank(text)


@pytest.mark.parametrize("value", ["", "x", 1, 1.5, Decimal(1)])
def test_texts_and_numbers_are_texts(value: Any) -> None:
    assert is_text(value)


@pytest.mark.parametrize("value", [None, True, [], {}, b"x", math.nan, math.inf, -math.inf, Decimal("NaN"), object()])
def test_others_are_not(value: Any) -> None:
    assert not is_text(value)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d"])
@pytest.mark.parametrize("wrapped", [str, lambda text: ["x", text]])
def test_half_of_a_surrogate_pair_is_named(text: str, wrapped: Any) -> None:
    with pytest.raises(InputError, match=r"place: the field 'turns': half of a surrogate pair \(.u[0-9a-f]{4}\)"):
        require_unicode({"id": "a", "turns": wrapped(text)}, "place")


def test_whole_pairs_are_texts() -> None:
    require_unicode({"id": "a", "turns": ["\U0001f600"], "answer": 1, "context": None}, "place")


def test_filters_that_match_nothing_are_named() -> None:
    filters = Filters({"kind": "x"}, {"copyright": "true"}, {"label": "harm"})
    kept = [
        filters.keep({"kind": kind, "copyright": False, "label": "harmful"}, "line 1") for kind in ("x", "y")
    ]
    assert kept == [True, False]
    with pytest.raises(InputError, match=r"The filter exclude: {copyright: 'true'} of the set 's' matches no row"):
        filters.require_used("s")
    assert not filters.keep({"kind": "y", "copyright": True, "label": "none"}, "line 3"), "counts although others fail"
    filters.require_used("s")


def test_filters_of_no_rows_say_nothing() -> None:
    Filters({"kind": "x"}).require_used("s")


@given(st.lists(st.sampled_from(["a", "b", "", " ", "c"])))
def test_repeated(names: list[str]) -> None:
    named = [name for name in names if name.strip()]
    assert (repeated(names) is None) == (len(set(named)) == len(named))
