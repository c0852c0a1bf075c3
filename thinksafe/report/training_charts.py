"""Pictures of pilot, curation and training, drawn by matplotlib; every number in them also stands in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from thinksafe.records import Role
from thinksafe.report.marks import ROWS, arms, legend, mark, named_rows
from thinksafe.report.summary import RunSummary
from thinksafe.report.svg import C, chart
from thinksafe.run.details import FunnelRow, Rate
from thinksafe.text import bracket, label, percent, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REASONS = {
    "accepted": ("accepted", "accepted"),
    "unsafe": ("unsafe", "r1"),
    "not_a_refusal": ("not a refusal", "r2"),
    "refusal": ("benign refused", "r2"),
    "incomplete": ("incomplete", "r3"),
    "no_answer": ("no answer", "r3"),
    "unknown": ("verdict unknown", "r4"),
    "unsafe_sibling": ("another sample unsafe", "r1"),
    "not_drawn": ("another one drawn", "r3"),
}
"""Outcomes of a sample in curation: words and colour. Refusals share a colour because no label can have
both; so do responses that are not whole."""


def pilot(summary: RunSummary) -> Markup | None:
    """Draw acceptance of the pilot with and without steering, and the flip rate, with their thresholds."""
    of = summary.diagnosis
    if of is None:
        return None
    rows: list[tuple[str, Rate | None, float | None, Role]] = [
        ("accepted, plain", of.acceptance_plain, None, "base"),
        ("accepted, steered", of.acceptance_steered, summary.setting("diagnose", "min_acceptance"), "candidate"),
        ("flip rate", of.flip_rate, summary.setting("diagnose", "min_flip_rate"), "candidate"),
    ]
    known = [
        (name, rate.value, rate.interval, limit, role)
        for name, rate, limit, role in rows
        if rate is not None and rate.value is not None
    ]
    if not known:
        return None
    alt = "Pilot: " + "; ".join(
        f"{name} {percent(value)} {bracket(interval)}"
        + (f" (at least {percent(limit, 0)})" if limit is not None else "")
        for name, value, interval, limit, _ in known
    )

    def draw(figure: Figure, width: int) -> int:
        wide, axes = width > 500, figure.subplots()
        axes.grid(visible=True, axis="x")
        for place, (name, value, interval, limit, role) in enumerate(known):
            axes.errorbar([100 * value], [place], xerr=arms(value, interval), **mark(role))
            if limit is not None:
                axes.plot([100 * limit] * 2, [place - 0.25, place + 0.25], color=C["accepted"], linewidth=2.4)
            if not wide:
                axes.text(0, place - 0.27, name, transform=axes.get_yaxis_transform(), va="bottom", color=C["ink"])
        named_rows(axes, [row[0] for row in known], wide)
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of pilot samples (flip rate: of the prompts without a safe plain sample)" if wide else "%")
        return 60 + (40 if wide else 56) * len(known)

    return chart("pilot", alt, draw)


def funnel(name: str, counted: Sequence[FunnelRow]) -> Markup | None:
    """Draw the outcomes of samples, a bar for each label and arm; ``name`` is unique on the page."""
    groups: dict[tuple[str, str], list[FunnelRow]] = {}
    for row in counted:
        groups.setdefault((row.label, row.drawn), []).append(row)
    bars = [
        (f"{label(of, 16)}, {label(arm, 24)}", rows)
        for (of, arm), rows in list(groups.items())[:ROWS]
        if sum(row.count for row in rows)
    ]
    if not bars:
        return None
    order = {reason: place for place, reason in enumerate(REASONS)}
    alt = "Outcomes of the samples. " + " ".join(
        f"{bar}: {', '.join(f'{row.count} {_words(row.reason)}' for row in rows)}." for bar, rows in bars
    )

    def draw(figure: Figure, width: int) -> int:
        axes = figure.subplots()
        seen: set[str] = set()
        for place, (bar, rows) in enumerate(bars):
            total, left = sum(row.count for row in rows), 0.0
            axes.annotate(f"{bar} ({plural(total, 'sample')})", (0, place - 0.3), va="bottom", color=C["ink"])
            for row in sorted(rows, key=lambda row: order.get(row.reason, len(order))):
                words, colour = _words(row.reason), REASONS.get(row.reason, ("", "r4"))[1]
                share = 100 * row.count / total
                axes.barh(
                    place, share, left=left, height=0.5, color=C[colour], edgecolor=C["paper"], linewidth=1.5,
                    label=words if words not in seen else None,
                )
                seen.add(words)
                left += share
        axes.set_xlim(0, 100)
        axes.set_ylim(len(bars) - 0.6, -0.85)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("% of samples")
        lines = legend(figure, axes, width, [words for words, _ in REASONS.values()])
        return 50 + 60 * len(bars) + 20 * lines

    return chart(name, alt, draw)


def _words(reason: str) -> str:
    return REASONS[reason][0] if reason in REASONS else label(reason, 18)


def curve(summary: RunSummary) -> Markup | None:
    """Draw the training loss, and the learning rate below it when it was logged."""
    points = [(point.step, point.loss, point.learning_rate) for point in summary.curve if point.loss is not None]
    if not points:
        return None
    rates = [(step, rate) for step, _, rate in points if rate is not None]
    alt = (
        f"Training loss over {plural(len(points), 'logged step')}: {points[0][1]:.3g} at step {points[0][0]:g}, "
        f"{points[-1][1]:.3g} at step {points[-1][0]:g}."
    )

    def draw(figure: Figure, _: int) -> int:
        heights = [3, 1] if rates else [1]
        panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        top = panels.flat[0]
        steps, losses = [step for step, _, _ in points], [loss for _, loss, _ in points]
        top.plot(steps, losses, color=C["candidate"], marker="." if len(points) < 60 else None)
        top.set_ylabel("loss")
        top.set_ylim(bottom=0)
        if rates:
            panels.flat[1].plot([step for step, _ in rates], [rate for _, rate in rates], color=C["muted"])
            panels.flat[1].set_ylabel("rate")
            panels.flat[1].set_ylim(bottom=0)
        for axes in panels.flat:
            axes.grid(visible=True)
        panels.flat[-1].set_xlabel("optimiser step")
        return 340 if rates else 260

    return chart("curve", alt, draw)
