"""Shared by the report's pictures: how a model, an interval, a threshold and a legend are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from thinksafe.records import Interval, Role
from thinksafe.report.svg import C

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS: dict[Role, str] = {"base": "o", "candidate": "D", "champion": "s", "evaluated": "D", "previous": "o"}
"""Shape tells the models apart where colour does not."""

LIMIT: dict[str, Any] = {"color": C["accepted"], "linewidth": 1.4, "linestyle": (0, (4, 3))}
"""How a threshold is drawn."""

PANELS = 6
ROWS = 40
"""Largest number of panels and of rows in a picture; the tables contain everything."""


def named_rows(axes: Axes, names: list[str], wide: bool) -> None:
    """Turn the vertical axis into a list of names; in narrow pictures, the names stand above the rows instead."""
    axes.set_ylim(len(names) - 0.45, -0.55 if wide else -0.8)
    axes.set_yticks(range(len(names)) if wide else [], names if wide else [])
    axes.tick_params(axis="y", length=0, labelcolor=C["ink"])
    axes.spines["left"].set_visible(False)


def arms(value: float, interval: Interval | None) -> list[list[float]] | None:
    """Return the distances from a value to its interval's limits, in percent; a limit on the wrong side counts as 0."""
    if interval is None:
        return None
    return [[max(100 * (value - interval.low), 0.0)], [max(100 * (interval.high - value), 0.0)]]


def mark(role: Role, size: float = 7) -> dict[str, Any]:
    """Arguments of ``errorbar`` for a model."""
    return {
        "fmt": MARKERS[role], "color": C[role], "markersize": size, "capsize": 3, "elinewidth": 1.6, "label": role,
        "markerfacecolor": C[role] if role in ("candidate", "evaluated") else C["paper"], "markeredgewidth": 1.6,
        "zorder": 3, "clip_on": False,
    }


def legend(figure: Figure, axes: Axes, width: int, order: Sequence[str] = ()) -> int:
    """Put one legend above a figure, in the given order, and return the lines it takes."""
    handles, labels = axes.get_legend_handles_labels()
    known = {label: place for place, label in enumerate(order)}
    pairs = sorted(zip(labels, handles, strict=True), key=lambda pair: known.get(pair[0], len(known)))
    unique = dict(pairs)
    columns = max(1, min(len(unique), width // 165))
    figure.legend(
        unique.values(), unique.keys(), loc="outside upper left", ncols=columns, handlelength=1.4, borderpad=0
    )
    return -(-len(unique) // columns)
