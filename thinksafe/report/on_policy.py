"""What training that samples logs besides the loss: a picture by step, and a table of the beginning and the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from thinksafe.report.evidence import Row, Table
from thinksafe.report.summary import RunSummary
from thinksafe.report.svg import C, chart
from thinksafe.report.tables import Cell
from thinksafe.text import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Point(NamedTuple):
    """A point of the curve that is shown."""

    name: str
    words: str
    axis: str
    """Label of the panel; points with the same one share it."""
    colour: str


POINTS = (
    Point("reward", "mean reward", "reward", "candidate"),
    Point("equal_groups", "groups with equal rewards", "share", "r1"),
    Point("truncated", "responses that were cut", "share", "r3"),
    Point("kl", "KL from the student", "KL, nats", "muted"),
    Point("mean_length", "mean length", "tokens", "candidate"),
)
SAMPLED = "mean_length"
"""Only training that samples logs it."""

Series = list[tuple[float, float]]


def _begun(words: str) -> str:
    return words[0].upper() + words[1:]


def _series(summary: RunSummary) -> dict[Point, Series]:
    found: dict[Point, Series] = {}
    for of in POINTS:
        values = [(point.step, (point.model_extra or {}).get(of.name)) for point in summary.curve]
        numbers = [
            (step, float(value)) for step, value in values if isinstance(value, int | float) and math.isfinite(value)
        ]
        if numbers:
            found[of] = numbers
    return found if any(of.name == SAMPLED for of in found) else {}


def table(summary: RunSummary) -> Table:
    """Return each point at its first and at its last step; no rows if training did not sample."""
    rows = []
    for of, series in _series(summary).items():
        values = (series[0][1], series[-1][1])
        cells = (Cell(f"{value:,.3g}", repr(value)) for value in values)
        rows.append(Row((_begun(of.words),), (*cells, Cell(f"{series[-1][0]:g}", repr(series[-1][0])))))
    return Table(("Point",), ("At the start", "At the end", "Last step"), tuple(rows))


def picture(summary: RunSummary) -> Markup | None:
    """Draw reward, shares, KL and lengths by step, one panel for each unit."""
    found = _series(summary)
    if not found:
        return None
    axes_of: dict[str, list[Point]] = {}
    for of in found:
        axes_of.setdefault(of.axis, []).append(of)
    last = max(series[-1][0] for series in found.values())
    alt = f"Training that samples, up to step {last:g}. " + " ".join(
        f"{_begun(of.words)}: {series[0][1]:.3g} at first, {series[-1][1]:.3g} at last "
        f"({plural(len(series), 'point')})."
        for of, series in found.items()
    )

    def draw(figure: Figure, _: int) -> int:
        panels = figure.subplots(len(axes_of), 1, sharex=True, squeeze=False).flat
        for axes, (axis, points) in zip(panels, axes_of.items(), strict=True):
            for of in points:
                steps, values = zip(*found[of], strict=True)
                axes.plot(steps, values, color=C[of.colour], label=of.words)
            axes.set_ylabel(axis)
            axes.set_ylim(bottom=0, top=1.05 if axis == "share" else None)
            axes.grid(visible=True)
            if len(points) > 1:
                axes.legend(loc="upper left", fontsize=10)
        axes.set_xlabel("optimiser step")
        return 60 + 130 * len(axes_of)

    return chart("on-policy", alt, draw)
