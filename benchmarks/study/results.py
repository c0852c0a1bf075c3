"""What the comparisons measured, and what it says about students in general: the student is the unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from thinksafe.records import Interval, MetricKind
from thinksafe.report.comparison.model import ComparisonResult, MethodResult, Number

MEASURES: tuple[MetricKind, ...] = ("harm", "over_refusal", "reasoning")


class Reading(NamedTuple):
    """A number of one method in one comparison."""

    value: float
    error: float
    """Standard error from prompts and samples alone; 0 where it is not known."""


Read = Callable[[MethodResult], Reading | None]
"""Takes a number out of a method's result; None where the method has none."""


def measure(name: MetricKind) -> Read:
    """Return the reader of a measure: harm, over_refusal or reasoning."""
    return lambda method: _reading(method.measures.get(name))


def drift(of: str, label: str) -> Read:
    """Return the reader of a drift number (nats a token) of one label."""

    def read(method: MethodResult) -> Reading | None:
        found = [one for one in method.drift if (one.measure, one.label) == (of, label)]
        return Reading(found[0].value, _error(found[0].interval)) if found else None

    return read


def flip_rate(method: MethodResult) -> Reading | None:
    """Return the flip rate that the pilot measured."""
    return _reading(method.flip_rate)


def responses(method: MethodResult) -> Reading | None:
    """Return how many training responses a model wrote."""
    return Reading(float(method.work.responses), 0.0)


def _reading(found: Number | None) -> Reading | None:
    return None if found is None else Reading(found.value, _error(found.interval))


def _error(interval: Interval | None) -> float:
    from scipy.stats import norm

    if interval is None:
        return 0.0
    return (interval.high - interval.low) / 2 / float(norm.ppf(0.5 + interval.confidence / 2))


@dataclass(frozen=True)
class Study:
    """All comparisons, by student and seed."""

    cells: Mapping[tuple[int, int], ComparisonResult]

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in the order of the recipe."""
        first = next(iter(self.cells.values()))
        return [method.name for method in first.methods]

    def result(self, cell: tuple[int, int], name: str) -> MethodResult | None:
        """Return a method's result in a comparison."""
        return next((method for method in self.cells[cell].methods if method.name == name), None)

    def by_student(self, name: str, read: Read) -> dict[int, Reading]:
        """Return a method's number by student, averaged over the seeds that have one."""
        found: dict[int, list[Reading]] = {}
        for cell in self.cells:
            method = self.result(cell, name)
            reading = read(method) if method is not None else None
            if reading is not None:
                found.setdefault(cell[0], []).append(reading)
        return {student: _mean(of) for student, of in found.items()}

    def base(self, name: MetricKind) -> dict[int, Reading]:
        """Return a measure of the students as they are."""
        found: dict[int, list[Reading]] = {}
        for (student, _), result in self.cells.items():
            if (reading := _reading(result.base.get(name))) is not None:
                found.setdefault(student, []).append(reading)
        return {student: _mean(of) for student, of in found.items()}

    def outcomes(self, name: str) -> dict[str, int]:
        """Return how often a method's comparison ended how."""
        counts: dict[str, int] = {}
        for cell in self.cells:
            method = self.result(cell, name)
            outcome = method.outcome if method is not None else "missing"
            counts[outcome] = counts.get(outcome, 0) + 1
        return counts

    def difference(self, first: str, second: str, read: Read) -> dict[int, Reading]:
        """Return first minus second by student: both at the same seeds, on the same prompts."""
        return self._paired(
            first, second, read, lambda one, other: Reading(one.value - other.value, math.hypot(one.error, other.error))
        )

    def ratio(self, first: str, second: str, read: Read) -> dict[int, Reading]:
        """Return first by second, by student, of counts."""
        return self._paired(
            first, second, read, lambda one, other: Reading(one.value / other.value, 0.0) if other.value else None
        )

    def slope(self, names: Sequence[str], x: Read, y: Read) -> dict[int, Reading]:
        """Return by student how much one number changes with another over some methods, by least squares.

        The error is that of ``y`` alone.
        """
        found: dict[int, list[Reading]] = {}
        for cell in self.cells:
            methods = [method for name in names if (method := self.result(cell, name)) is not None]
            pairs = [(at, of) for method in methods if (at := x(method)) is not None and (of := y(method)) is not None]
            middle = math.fsum(at.value for at, _ in pairs) / max(len(pairs), 1)
            square = math.fsum((at.value - middle) ** 2 for at, _ in pairs)
            if square:
                value = math.fsum((at.value - middle) * of.value for at, of in pairs) / square
                error = math.sqrt(math.fsum(((at.value - middle) * of.error) ** 2 for at, of in pairs)) / square
                found.setdefault(cell[0], []).append(Reading(value, error))
        return {student: _mean(of) for student, of in found.items()}

    def _paired(
        self, first: str, second: str, read: Read, join: Callable[[Reading, Reading], Reading | None]
    ) -> dict[int, Reading]:
        found: dict[int, list[Reading]] = {}
        for cell in self.cells:
            one, other = (read(of) if (of := self.result(cell, name)) is not None else None for name in (first, second))
            if one is not None and other is not None and (joined := join(one, other)) is not None:
                found.setdefault(cell[0], []).append(joined)
        return {student: _mean(of) for student, of in found.items()}


def _mean(readings: list[Reading]) -> Reading:
    """Return the mean over seeds; the prompts are the same for all of them, so that the error does not shrink."""
    return Reading(
        math.fsum(one.value for one in readings) / len(readings),
        math.fsum(one.error for one in readings) / len(readings),
    )


class Estimate(NamedTuple):
    """A mean over students with its interval."""

    value: float
    low: float
    high: float
    students: int


def estimate(found: Mapping[int, Reading], confidence: float) -> Estimate | None:
    """Return the mean over students with Student's t interval; None with fewer than two students.

    The variance between students contains that of prompts and samples. Where all students happen to agree it would be
    zero, so it is taken to be at least the mean squared error of one student.
    """
    from scipy.stats import t

    if len(found) < 2:
        return None
    values = [reading.value for reading in found.values()]
    n, mean = len(values), math.fsum(values) / len(values)
    between = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    within = math.fsum(reading.error**2 for reading in found.values()) / n
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * math.sqrt(max(between, within) / n)
    return Estimate(mean, mean - half, mean + half, n)
