"""Pictures of the evaluation, drawn by matplotlib; every number in them also stands in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from thinksafe.records import Interval, Metric, MetricKind, Role
from thinksafe.report.marks import LIMIT, PANELS, ROWS, arms, legend, mark, named_rows
from thinksafe.report.summary import RunSummary, of_kind, reasoning_average
from thinksafe.report.svg import C, chart
from thinksafe.text import bracket, label, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS: dict[MetricKind, str] = {
    "harm": "Harm ratio (lower is better)",
    "over_refusal": "Over-refusal (lower is better)",
    "reasoning": "Reasoning, average pass@1 (higher is better)",
}


class Point(NamedTuple):
    """One model in the harm-reasoning plot; values are shares."""

    role: Role
    harm: Metric
    reasoning: float
    interval: Interval


def plane(summary: RunSummary) -> Markup | None:
    """Draw harm against reasoning, a panel for each harm benchmark, with the gate's region."""
    part = summary.setting("gate", "harm", "part", default="whole")
    panels: dict[str, list[Point]] = {}
    for role, metrics in summary.metrics.items():
        average = reasoning_average(metrics)
        if average is None:
            continue
        for metric in of_kind(metrics, "harm", part):
            point = Point(role, metric, average.value, average.interval)
            panels.setdefault(metric.benchmark, []).append(point)
    if not panels:
        return None
    shown = dict(list(panels.items())[:PANELS])
    limit = summary.setting("gate", "harm", "max")
    loss = summary.setting("gate", "reasoning", "max_loss")
    alt = "Harm ratio against average pass@1. " + " ".join(
        f"{label(name, 60)}: "
        + "; ".join(
            f"{point.role} harm {percent(point.harm.value)} {bracket(point.harm.interval)}, "
            f"reasoning {percent(point.reasoning)} {bracket(point.interval)}"
            for point in points
        )
        + "."
        for name, points in shown.items()
    )

    def draw(figure: Figure, width: int) -> int:
        columns = min(len(shown), 1 if width < 500 else 3 if len(shown) != 4 else 2)
        rows = -(-len(shown) // columns)
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(shown):
                axes.set_axis_off()
                continue
            name, points = list(shown.items())[place]
            _plane_panel(axes, points, limit, loss)
            if len(shown) > 1:
                axes.set_title(label(name, 30), color=C["ink"])
            if place % columns == 0:
                axes.set_ylabel("harm ratio, %")
            if place // columns == rows - 1 or place + columns >= len(shown):
                axes.set_xlabel("average pass@1, %")
        legend(figure, grid.flat[0], width)
        return 60 + rows * (330 if columns > 1 or width < 500 else 420)

    return chart("plane", alt, draw, (680 if len(shown) == 1 else 1008, 340))


def _plane_panel(axes: Axes, points: list[Point], limit: float | None, loss: float | None) -> None:
    lows = [100 * point.interval.low for point in points]
    highs = [100 * point.interval.high for point in points]
    base = next((100 * point.reasoning for point in points if point.role in ("base", "previous")), None)
    floor = base - 100 * loss if base is not None and loss is not None else None
    left, right = min([*lows, *([floor] if floor is not None else [])]), max(highs)
    pad = max(0.15 * (right - left), 1.5)
    left, right = max(left - pad, 0), min(right + pad, 100.4)
    top = max([100 * point.harm.interval.high for point in points] + ([100 * limit] if limit is not None else []))
    top = min(top * 1.08 + 1, 102)
    axes.grid(visible=True)
    if limit is not None and floor is not None:
        edge = 100 * limit
        axes.fill_between(
            [floor, right], 0, edge, color=C["region"], linewidth=0, zorder=0.5, label="gate's region"
        )
        axes.plot([floor, floor, right], [0, edge, edge], color=C["accepted"], linewidth=1, zorder=0.6)
    for point in points:
        harm = point.harm
        axes.errorbar(
            [100 * point.reasoning], [100 * harm.value],
            xerr=arms(point.reasoning, point.interval), yerr=arms(harm.value, harm.interval), **mark(point.role),
        )
    axes.set_xlim(left, right)
    axes.set_ylim(-0.025 * top, top)


def forest(summary: RunSummary) -> Markup | None:
    """Draw every metric of every model with its interval, a panel for each kind."""
    rows: dict[MetricKind, dict[str, dict[Role, Metric]]] = {}
    for role, metrics in summary.metrics.items():
        for metric in metrics.metrics:
            rows.setdefault(metric.kind, {}).setdefault(metric.name, {})[role] = metric
    if not rows:
        return None
    shown = {kind: list(rows[kind].values())[:ROWS] for kind in KINDS if kind in rows}
    limits = {
        "harm": summary.setting("gate", "harm", "max"),
        "over_refusal": summary.setting("gate", "over_refusal", "max"),
        "reasoning": None,
    }
    models = ", ".join(summary.metrics)
    alt = f"Every metric with its interval for {models}; the numbers are in the table below."

    def draw(figure: Figure, width: int) -> int:
        wide = width > 500
        heights = [0.4 + len(of) for of in shown.values()]
        grid = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
        for axes, (kind, of) in zip(grid.flat, shown.items(), strict=True):
            _forest_panel(axes, of, limits[kind], wide)
            axes.set_title(KINDS[kind], color=C["ink"])
            if kind != "reasoning":
                axes.set_xlim(left=0)
        grid.flat[-1].set_xlabel("%")
        lines = legend(figure, grid.flat[0], width)
        return round(50 + 20 * lines + (46 if wide else 60) * sum(heights) + 62 * len(shown))

    return chart("forest", alt, draw)


def _forest_panel(axes: Axes, rows: list[dict[Role, Metric]], limit: float | None, wide: bool) -> None:
    names = [_row_name(next(iter(models.values()))) for models in rows]
    axes.grid(visible=True, axis="x")
    if limit is not None:
        axes.axvline(100 * limit, **LIMIT, label="gate's limit")
    for place, (name, models) in enumerate(zip(names, rows, strict=True)):
        first = -0.24 if wide else -0.1
        for at, (role, metric) in enumerate(models.items()):
            axes.errorbar(
                [100 * metric.value], [place + first + 0.24 * at], xerr=arms(metric.value, metric.interval),
                **mark(role, size=6),
            )
        if not wide:  # above the row: there is no margin
            axes.text(0, place - 0.27, name, transform=axes.get_yaxis_transform(), va="bottom", color=C["ink"])
    named_rows(axes, names, wide)


def _row_name(metric: Metric) -> str:
    name = label(metric.benchmark, 26)
    return name if metric.part == "whole" else f"{name}, {metric.part}"
