"""Numbers with a range."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, model_validator

from thinksafe.records import Record

Amount = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Range(Record):
    """A number of zero or more, and between which it may well be."""

    low: Amount
    point: Amount
    high: Amount

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low <= self.point <= self.high:
            raise ValueError("the point is not within its range")
        return self

    @classmethod
    def around(cls, point: float, spread: float = 1.0) -> Range:
        """Return a range from the point divided by a factor to the point times it."""
        return cls(low=min(point / spread, point), point=point, high=max(point * spread, point))

    def times(self, factor: float | Range) -> Range:
        """Return the product with a number, or with another range, whose errors may add to these."""
        other = factor if isinstance(factor, Range) else Range.around(factor)
        low, point, high = self.low * other.low, self.point * other.point, self.high * other.high
        return Range(low=min(low, point), point=point, high=max(point, high))


NOTHING = Range(low=0.0, point=0.0, high=0.0)


def total(ranges: Iterable[Range]) -> Range:
    """Return the sum; its range is the widest that the parts allow."""
    low = point = high = 0.0
    for each in ranges:
        low, point, high = low + each.low, point + each.point, high + each.high
    return Range(low=min(low, point), point=point, high=max(point, high))
