"""Small pictures of a measure over time, as SVG paths of a few bytes a point.

Matplotlib's pictures (:mod:`thinksafe.report.svg`) take some kilobytes and 50 ms each; a fleet has hundreds of them
with thousands of points. A picture here is a group of paths in a box of 500 by 100 units. The page draws it twice,
small in the table and large below it, and CSS stretches the box: strokes keep their width, and there is no text in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from thinksafe.fleet.facts import ModelFacts, Point, Span, number
from thinksafe.records import MetricKind

WIDTH, HEIGHT, MARGIN = 500, 100, 6
"""Units of the box; points keep the margin from its left and right."""
STEPS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
"""Tops of the scale of harm and over-refusal."""


class Window(NamedTuple):
    """The time that all pictures of a page show, in Unix seconds."""

    start: float
    end: float

    def place(self, time: float) -> int:
        """Return the horizontal place of a time; what lies outside is drawn at the edge."""
        share = (time - self.start) / (self.end - self.start) if self.end > self.start else 1.0
        return round(MARGIN + (WIDTH - 2 * MARGIN) * min(max(share, 0.0), 1.0))


class Picture(NamedTuple):
    """A measure of a model over time."""

    paths: Markup
    low: float
    high: float
    """The scale: shares at the bottom and at the top."""


def window(models: Sequence[ModelFacts], now: float) -> Window:
    """Return the time from the first measurement or promotion of a fleet until now; at least a day."""
    times = [time for model in models for time in model.times if time is not None]
    times += [point.time for model in models for of in model.evaluations.values() for point in of]
    return Window(min([*(time for time in times if 0 < time <= now), now - 86400.0]), now)


def picture(
    measured: Sequence[tuple[Point, bool]], measure: MetricKind, model: ModelFacts, shown: Window
) -> Picture | None:
    """Return a picture; None where the measure was never measured.

    Args:
        measured: See :meth:`thinksafe.fleet.facts.ModelFacts.measured`.
        measure: What to draw.
        model: Names the part and the limit of the gate.
        shown: Time to draw.
    """
    found = [
        (shown.place(point.time), span, point.passed is False, reigns) for point, reigns in measured
        if (span := number(point.numbers, measure, model.part)) is not None
    ]
    if not found:
        return None
    limit = None if measure == "reasoning" else model.limits.get(measure)
    low, high = _scale([span for _, span, _, _ in found], measure, limit)

    def height(share: float) -> int:
        return round(HEIGHT * (1 - min(max((share - low) / (high - low), 0.0), 1.0)))

    whiskers = [(x, height(span.high), height(span.low)) for x, span, _, _ in found]
    dots = {
        name: [(x, height(span.value)) for x, span, alarm, reigns in found if wanted == (alarm, reigns)]
        for name, wanted in (("d", (False, True)), ("o", (False, False)), ("a", (True, True)), ("b", (True, False)))
    }
    line = f"M0 {height(limit)}H{WIDTH}" if limit is not None else ""
    paths = [("l", line), ("w", _strokes(whiskers)), *((name, _dots(of)) for name, of in dots.items())]
    return Picture(Markup("").join(_path(name, data) for name, data in paths), low, high)


def marks(model: ModelFacts, shown: Window) -> Markup:
    """Return the lines of promotions, rollbacks and withdrawals."""
    found: dict[str, list[tuple[int, int, int]]] = {"promote": [], "rollback": [], "withdraw": []}
    for entry, time in zip(model.entries, model.times, strict=True):
        if time is not None:
            found[entry.action].append((shown.place(time), 0, HEIGHT))
    classes = {"promote": "p", "rollback": "r", "withdraw": "x"}
    return Markup("").join(_path(classes[action], _strokes(of)) for action, of in found.items() if of)


def _scale(spans: Sequence[Span], measure: MetricKind, limit: float | None) -> tuple[float, float]:
    """Return bottom and top: what should be low is shown from zero and with its limit, reasoning in tens of percent."""
    bottom, top = min(span.low for span in spans), max(span.high for span in spans)
    if measure == "reasoning":
        low = min(math.floor(10 * max(bottom, 0.0)) / 10, 0.9)
        return low, max(math.ceil(10 * top) / 10, low + 0.1)
    top = max(top, 1.25 * limit if limit is not None else 0.0)
    return 0.0, next((step for step in STEPS if step >= top), 1.0)


def _path(name: str, data: str) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(name, data) if data else Markup("")


def _strokes(found: Sequence[tuple[int, int, int]]) -> str:
    """Return vertical strokes, each from the end of the one before."""
    text: list[str] = []
    x = y = 0
    for at, start, end in found:
        text.append(f"{'m' if text else 'M'}{at - x}{_signed(start - y)}v{end - start}")
        x, y = at, end
    return "".join(text)


def _dots(found: Sequence[tuple[int, int]]) -> str:
    """Return strokes without length, which round caps turn into dots."""
    text: list[str] = []
    x = y = 0
    for at, height in found:
        text.append(f"{'m' if text else 'M'}{at - x}{_signed(height - y)}z")
        x, y = at, height
    return "".join(text)


def _signed(number: int) -> str:
    return str(number) if number < 0 else f" {number}"
