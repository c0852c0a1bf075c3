"""The arithmetic of ranges."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from thinksafe.estimating.ranges import Range, total

numbers = st.floats(0, 1e12)
factors = st.floats(1, 100)
ranges = st.lists(numbers, min_size=3, max_size=3).map(sorted).map(
    lambda found: Range(low=found[0], point=found[1], high=found[2])
)


@given(st.lists(ranges, max_size=8))
def test_a_sum_is_that_of_its_parts_and_holds_its_point(parts: list[Range]) -> None:
    whole = total(parts)
    assert whole.low <= whole.point <= whole.high
    for name in ("low", "point", "high"):
        assert math.isclose(getattr(whole, name), math.fsum(getattr(each, name) for each in parts), rel_tol=1e-9)


@given(ranges, ranges)
def test_a_product_holds_its_point(one: Range, other: Range) -> None:
    product = one.times(other)
    assert product.low <= product.point <= product.high
    assert product.point == one.point * other.point


@given(numbers, factors)
def test_a_spread_is_around_the_point(point: float, spread: float) -> None:
    found = Range.around(point, spread)
    assert found.low <= point <= found.high


def test_a_point_outside_is_refused() -> None:
    with pytest.raises(ValidationError, match="within its range"):
        Range(low=2, point=1, high=3)
