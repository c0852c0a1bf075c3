"""The history of a registered model: a table for the terminal, and a page with a trend plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from thinksafe.report.html import render
from thinksafe.report.marks import arms
from thinksafe.report.svg import C, chart
from thinksafe.report.tables import NONE, Cell, share
from thinksafe.report.timeline import Event, Number
from thinksafe.text import DASH, bracket, clean, label, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 60
"""Largest number of events in the plot, which shows the newest; the table has all."""
COLUMNS = (
    "Generation", "Version", "What", "Decision", "Harm ratio", "Reasoning pass@1", "Who", "When (UTC)", "Champion",
    "Deployed",
)
TERMINAL = ("Gen", "Ver", "What", "Decision", "Harm", "Reasoning", "Who", "When", "Champion", "Deployed")


def history_table(events: Sequence[Event]) -> Table:
    """Return the table for a terminal, oldest event first."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in TERMINAL:
        table.add_column(name, overflow="fold", min_width=len(name))
    for event in events:
        table.add_row(
            *(
                Text(clean(text).replace(" [", "\n[").replace("until ", "until\n"), overflow="fold")
                for text in (
                    DASH if event.generation is None else str(event.generation), event.version, event.action,
                    event.decision or event.reason or DASH, _number(event.harm), _number(event.reasoning),
                    event.who or DASH, minute(event.created), champion_words(event), event.deployed or DASH,
                )
            ),
            style="bold" if event.champion else "",
        )
    return table


def champion_words(event: Event) -> str:
    """Return whether, and until when, this event made its version the champion."""
    if event.generation is None or event.action == "withdraw":
        return DASH
    return "now" if event.champion else f"until {minute(event.until)}"


def minute(time: str) -> str:
    """Return an ISO 8601 time in UTC to the minute, for tables."""
    return time[:16].replace("T", " ")


def _number(of: Number | None) -> str:
    return DASH if of is None else f"{percent(of.value)} {bracket(of.interval)}"


def render_history(model: str, events: Sequence[Event]) -> str:
    """Return the page: the trend plot and the table, oldest event first.

    Args:
        model: Registered model name.
        events: At least one event.
    """
    rows = [
        (
            event, minute(event.created), champion_words(event), _cell(event.harm), _cell(event.reasoning),
            event.champion,
        )
        for event in events
    ]
    champion = next((event for event in reversed(events) if event.champion), None)
    generations = [event for event in events if event.generation is not None]
    withdrawn = generations[-1] if generations and generations[-1].action == "withdraw" else None
    return render(
        "history.html.jinja", f"History of {label(model, 80)}", "versions", model=model, rows=rows, champion=champion,
        withdrawn=withdrawn, trend=trend(events), columns=COLUMNS,
    )


def _cell(of: Number | None) -> Cell:
    return NONE if of is None else share(of.value, of.interval)


def trend(events: Sequence[Event]) -> Markup | None:
    """Draw harm and reasoning of the newest events in order, with intervals; hollow markers: not promoted."""
    shown = [event for event in events if event.harm is not None or event.reasoning is not None][-SHOWN:]
    if not shown:
        return None
    alt = "Harm ratio and average pass@1 by version. " + "; ".join(
        f"version {event.version} ({event.action}, {event.decision or 'no decision'}): "
        f"harm {_number(event.harm)}, reasoning {_number(event.reasoning)}"
        for event in shown
    )

    def draw(figure: Figure, width: int) -> int:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, numbers, name in (
            (panels[0], [event.harm for event in shown], "Harm ratio, highest of the benchmarks (lower is better)"),
            (panels[1], [event.reasoning for event in shown], "Reasoning, average pass@1 (higher is better)"),
        ):
            _panel(axes, shown, numbers, name)
        step = -(-len(shown) // (8 if width < 500 else 24))
        panels[1].set_xticks(
            range(0, len(shown), step), [label(event.version, 8) for event in shown[::step]]
        )
        panels[1].set_xlabel("version, in the order of events")
        return 480

    return chart("trend", alt, draw)


def _panel(axes: Axes, events: Sequence[Event], numbers: Sequence[Number | None], name: str) -> None:
    axes.grid(visible=True, axis="y")
    for place, (event, of) in enumerate(zip(events, numbers, strict=True)):
        if of is not None:
            colour = C["base"] if event.generation is None else C["candidate"]
            axes.errorbar(
                [place], [100 * of.value], yerr=arms(of.value, of.interval),
                fmt={"rollback": "D", "withdraw": "X"}.get(event.action, "o"), color=colour, capsize=3, markersize=7,
                markerfacecolor=C["paper"] if event.generation is None else colour, markeredgewidth=1.6,
            )
    axes.set_title(name, color=C["ink"])
    axes.set_ylabel("%")
    axes.set_xlim(-0.6, len(events) - 0.4)
