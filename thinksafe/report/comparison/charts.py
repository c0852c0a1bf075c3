"""Pictures of a comparison; every number in them also stands in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from thinksafe.report.comparison.model import ComparisonSummary, Number
from thinksafe.report.marks import arms, legend
from thinksafe.report.svg import C, chart
from thinksafe.text import bracket, count, label, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEAR = 15.0
"""Points that are closer than this, in pixels, share one label."""


class Point(NamedTuple):
    """A model in the plane of harm and reasoning."""

    mark: str
    """What stands beside it: its number in the tables, or ``base``."""
    name: str
    group: str
    harm: Number
    reasoning: Number


STYLES: dict[str, dict[str, Any]] = {
    "the student as it is": {"fmt": "o", "color": C["base"], "markerfacecolor": C["paper"]},
    "passes the gate": {"fmt": "D", "color": C["candidate"], "markerfacecolor": C["candidate"]},
    "does not pass": {"fmt": "s", "color": C["r1"], "markerfacecolor": C["paper"]},
}
"""Shape tells the groups apart where colour does not."""


def _points(summary: ComparisonSummary) -> list[Point]:
    result = summary.result
    found = [("base", "base", "the student as it is", result.base)]
    found += [
        (str(place), of.name, "passes the gate" if of.passed else "does not pass", of.measures)
        for place, of in enumerate(result.methods, 1)
    ]
    return [
        Point(mark, name, group, of["harm"], of["reasoning"])
        for mark, name, group, of in found if {"harm", "reasoning"} <= of.keys()
    ]


def plane(summary: ComparisonSummary) -> Markup | None:
    """Draw all methods in the plane of harm and reasoning, with interval crosses and the gate's region."""
    points = _points(summary)
    if not points:
        return None
    limit = summary.setting("gate", "harm", "max")
    loss = summary.setting("gate", "reasoning", "max_loss")
    alt = "Harm ratio against average pass@1: " + "; ".join(
        f"{point.name} ({point.group}) harm {percent(point.harm.value)} {bracket(point.harm.interval)}, reasoning "
        f"{percent(point.reasoning.value)} {bracket(point.reasoning.interval)}"
        for point in points
    )

    def draw(figure: Figure, width: int) -> int:
        axes = figure.subplots()
        top = _region(axes, points, limit, loss)
        for point in points:
            axes.errorbar(
                [100 * point.reasoning.value], [100 * point.harm.value],
                xerr=arms(point.reasoning.value, point.reasoning.interval),
                yerr=arms(point.harm.value, point.harm.interval), label=point.group, capsize=3, elinewidth=1.4,
                markersize=7, markeredgewidth=1.6, zorder=3, clip_on=False, **STYLES[point.group],
            )
        height = 330 if width < 500 else 440
        _labels(axes, points, (width, height), top)
        axes.set_ylabel("harm ratio, %")
        axes.set_xlabel("average pass@1, %")
        lines = legend(figure, axes, width, [*STYLES, "gate's region"])
        return height + 20 * lines

    return chart("plane", alt, draw, (760, 340))


def _region(axes: Axes, points: list[Point], limit: float | None, loss: float | None) -> float:
    """Set the limits of the axes, draw the gate's region, and return the upper limit of harm in percent."""
    base = next((100 * point.reasoning.value for point in points if point.mark == "base"), None)
    floor = base - 100 * loss if base is not None and loss is not None else None
    lows = [100 * point.reasoning.interval.low for point in points] + ([floor] if floor is not None else [])
    highs = [100 * point.reasoning.interval.high for point in points]
    pad = max(0.15 * (max(highs) - min(lows)), 1.5)
    left, right = max(min(lows) - pad, 0.0), min(max(highs) + pad, 100.4)
    top = max([100 * point.harm.interval.high for point in points] + ([100 * limit] if limit is not None else []))
    top = min(top * 1.08 + 1, 102)
    axes.grid(visible=True)
    if limit is not None and floor is not None:
        edge = 100 * limit
        axes.fill_between([floor, right], 0, edge, color=C["region"], linewidth=0, zorder=0.5, label="gate's region")
        axes.plot([floor, floor, right], [0, edge, edge], color=C["accepted"], linewidth=1, zorder=0.6)
    axes.set_xlim(left, right)
    axes.set_ylim(-0.025 * top, top)
    return top


def _labels(axes: Axes, points: list[Point], size: tuple[int, int], top: float) -> None:
    """Write the numbers beside the points; those that lie together share one label."""
    left, right = axes.get_xlim()
    across, up = 0.85 * size[0] / (right - left), 0.8 * size[1] / (1.025 * top)
    clusters: list[list[Point]] = []
    for point in points:
        near = next((of for of in clusters if _distance(of[0], point, across, up) < NEAR), None)
        if near is None:
            clusters.append([point])
        else:
            near.append(point)
    for of in clusters:
        rightmost = 100 * max(point.reasoning.value for point in of)
        inward = rightmost > left + 0.75 * (right - left)
        axes.annotate(
            ", ".join(point.mark for point in of), (rightmost, 100 * max(point.harm.value for point in of)),
            xytext=(-9 if inward else 9, 8), textcoords="offset points", ha="right" if inward else "left",
            color=C["ink"], fontweight="bold", zorder=4,
        )


def _distance(one: Point, other: Point, across: float, up: float) -> float:
    wide = 100 * abs(one.reasoning.value - other.reasoning.value) * across
    high = 100 * abs(one.harm.value - other.harm.value) * up
    return float((wide * wide + high * high) ** 0.5)


def work(summary: ComparisonSummary) -> Markup | None:
    """Draw the tokens that each method samples and trains on, a bar for each."""
    rows = [
        (f"{place} {label(of.name, 30)}{'' if of.passed else ' (does not pass)'}", of.work)
        for place, of in enumerate(summary.result.methods, 1) if of.work.tokens_sampled or of.work.tokens_trained
    ]
    if not rows:
        return None
    alt = "Tokens of each method: " + "; ".join(
        f"{name}: {count(of.tokens_sampled)} sampled, {count(of.tokens_trained)} trained" for name, of in rows
    )

    def draw(figure: Figure, width: int) -> int:
        axes = figure.subplots()
        axes.grid(visible=True, axis="x")
        largest = max(of.tokens_sampled + of.tokens_trained for _, of in rows)
        unit, word = next((pair for pair in UNITS if largest >= pair[0]), UNITS[-1])
        for place, (name, of) in enumerate(rows):
            axes.annotate(name, (0, place - 0.27), va="bottom", color=C["ink"])
            first = place == 0
            axes.barh(
                place, of.tokens_sampled / unit, height=0.4, color=C["candidate"],
                label="sampled" if first else None,
            )
            axes.barh(
                place, of.tokens_trained / unit, left=of.tokens_sampled / unit, height=0.4, color=C["r2"],
                label="trained" if first else None,
            )
        axes.set_ylim(len(rows) - 0.6, -0.85)
        axes.set_xlim(left=0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{word}tokens")
        lines = legend(figure, axes, width)
        return 50 + 46 * len(rows) + 20 * lines

    return chart("work", alt, draw, (760, 340))


UNITS = ((1e9, "billion "), (1e6, "million "), (1e3, "thousand "), (1.0, ""))


def draw_comparison(summary: ComparisonSummary) -> dict[str, Markup | None]:
    """Return the pictures of a comparison by name; None if there is nothing to draw."""
    return {"plane": plane(summary), "work": work(summary)}
