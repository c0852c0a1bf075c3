"""What a benchmark returns, and the timing that all of them share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Literal

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Result:
    """One row of the table; ``ratio`` is ours against the reference, both in ``unit``."""

    name: str
    what: str = ""
    """What the ratio compares."""
    unit: str = ""
    ours: float | None = None
    reference: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    """Confidence interval of the ratio (95 %); None if the ratio is counted or simulated."""
    repeats: int = 1
    target: str = ""
    reached: bool | None = None
    """None when nothing was measured or there is no target."""
    n: str = ""
    """What was measured, in numbers."""
    notes: str = ""
    """Other findings, or why it was not measured; in sentences."""
    status: Literal["measured", "skipped", "failed"] = "measured"


class SkippedError(Exception):
    """A benchmark cannot run here; the message says why."""


@dataclass(frozen=True)
class Pairs:
    """Rates of both sides (units per second), measured in turn."""

    ours: list[float]
    reference: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ratio of each pair, ours to the reference."""
        return [a / b for a, b in zip(self.ours, self.reference, strict=True)]

    @property
    def ratio(self) -> float:
        """Geometric mean of the pairs' ratios."""
        return math.exp(mean(map(math.log, self.ratios)))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t interval of the mean of the ratios' logarithms; pairs are taken as independent."""
        from scipy.special import stdtrit

        logs, n = [math.log(ratio) for ratio in self.ratios], len(self.ratios)
        if n < 2:
            return None
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * stdev(logs) / math.sqrt(n)
        return math.exp(mean(logs) - half), math.exp(mean(logs) + half)

    @property
    def medians(self) -> tuple[float, float]:
        """Median rate of each side."""
        return median(self.ours), median(self.reference)


def alternate(ours: Callable[[], float], reference: Callable[[], float], repeats: int) -> Pairs:
    """Run both in turn, alternating which goes first, so that other load on the machine affects both alike.

    Args:
        ours: Does the work once and returns a rate.
        reference: Does the same work another way.
        repeats: Number of pairs.
    """
    found = Pairs([], [])
    for repeat in range(repeats):
        sides = [(ours, found.ours), (reference, found.reference)]
        for work, rates in reversed(sides) if repeat % 2 else sides:
            rates.append(work())
    return found


def rate(work: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return units per second, where ``work`` returns the number of units.

    Args:
        work: What to measure.
        clock: Seconds; ``time.process_time`` counts the processor time of this process, all threads, which other load
            on the machine hardly changes.
    """
    start = clock()
    units = work()
    return units / (clock() - start)
