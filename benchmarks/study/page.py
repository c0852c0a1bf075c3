"""docs/study.md and its plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.study.claims import Answer, answers
from benchmarks.study.results import MEASURES, Estimate, Reading, Study, drift, estimate, measure, responses
from benchmarks.study.settings import CONFIDENCE, Settings

TITLES = {"harm": "harm, %", "over_refusal": "over-refusal, %", "reasoning": "pass@1, %"}
PLOT = "study.svg"


def write(study: Study, settings: Settings, target: Path) -> None:
    """Write the page and the plot beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    (target.parent / PLOT).write_bytes(plot(study))
    target.write_text("\n".join(lines(study, settings)) + "\n", "utf-8")


def lines(study: Study, settings: Settings) -> Iterator[str]:
    """Yield the lines of the page."""
    made = answers(study, CONFIDENCE)
    yield from f"""# Study

`make study` wrote this page: all methods on {settings.students} students of one configuration (they differ in the
seed that built them), each with {settings.seeds} seeds of the recipe, in the micro world. It shows how methods differ
in mechanics that were built into that world ([thinksafe/micro](../thinksafe/micro/README.md)); it says nothing about
real models. Whatever came out is here. The pilot only warns: methods that it would stop are trained all the same.

![Harm, over-refusal and pass@1 of every method]({PLOT})

## Methods

Means over students, seeds averaged first, with {CONFIDENCE:.0%} intervals by Student's t over students (at least as
wide as the error of one student's prompts). Responses are those that a model wrote for training.
""".splitlines()
    heads = ("method", *TITLES.values(), "NLL of its harmful rows", "KL on benign rows", "responses", "ended")
    yield from (
        "", f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|",
        "| the student itself | " + " | ".join(_share(study.base(name)) for name in MEASURES) + " | | | | |",
    )
    for name in study.methods:
        cells = [
            *(_share(study.by_student(name, measure(of))) for of in MEASURES),
            _number(study.by_student(name, drift("nll_student", "harmful")), 2),
            _number(study.by_student(name, drift("kl", "benign")), 4),
            _number(study.by_student(name, responses), 0, interval=False),
            ", ".join(f"{count} {outcome}" for outcome, count in study.outcomes(name).items()),
        ]
        yield f"| `{name}` | " + " | ".join(cells) + " |"
    yield from f"""
## Claims of the papers

Differences are paired: same student, same seed, same prompts. All intervals of this table hold together with
{CONFIDENCE:.0%} (Bonferroni). A claim holds if its interval is above the margin, and does not hold if it is below.

| claim | measured | value | margin | here |
| --- | --- | --- | --- | --- |""".splitlines()
    yield from (_claim(answer) for answer in made)


def _claim(answer: Answer) -> str:
    claim, found = answer.claim, answer.found
    points = claim.what in ("harm", "over-refusal", "pass@1")
    scale, digits = (100, 1) if points else (1, 1 if claim.factor else 4)
    value = "" if found is None else (
        f"{found.value * scale:.{digits}f} [{found.low * scale:.{digits}f}, {found.high * scale:.{digits}f}]"
    )
    unit = " points" if points else " times" if claim.factor else " nats a token"
    margin = f"{claim.margin * scale:g}"
    value += unit if value else ""
    return f"| {claim.text} ({claim.source}) | {claim.measured} | {value} | {margin} | {answer.verdict} |"


def _share(found: dict[int, Reading]) -> str:
    made = estimate(found, CONFIDENCE)
    if made is None:
        return ""
    low, high = max(made.low, 0.0), min(made.high, 1.0)
    return f"{100 * made.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _number(found: dict[int, Reading], digits: int, *, interval: bool = True) -> str:
    made = estimate(found, CONFIDENCE)
    if made is None:
        return ""
    text = f"{made.value:,.{digits}f}"
    return f"{text} [{made.low:.{digits}f}, {made.high:.{digits}f}]" if interval else text


def plot(study: Study) -> bytes:
    """Return the plot as SVG: a panel for each measure, a row for each method, a dot for each student."""
    import io

    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = ["the student itself", *study.methods]
    with mpl.rc_context({"svg.hashsalt": "study", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 0.6 + 0.32 * len(names)), layout="constrained")
        panels: Any = figure.subplots(1, len(MEASURES), sharey=True)
        for axes, of in zip(panels, MEASURES, strict=True):
            for place, name in enumerate(names):
                found = study.base(of) if place == 0 else study.by_student(name, measure(of))
                _draw(axes, place, found, estimate(found, CONFIDENCE))
            axes.set_title(TITLES[of].replace(", %", " (%)"))
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.grid(axis="x", color="0.9")
            axes.spines[["top", "right"]].set_visible(False)
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return data.getvalue()


def _draw(axes: Any, place: int, found: dict[int, Reading], made: Estimate | None) -> None:
    axes.plot([100 * reading.value for reading in found.values()], [place] * len(found), "o", ms=3, color="0.6")
    if made is not None:
        axes.plot([100 * max(made.low, 0), 100 * min(made.high, 1)], [place, place], "-", color="#1f5aa6", lw=1.5)
        axes.plot([100 * made.value], [place], "D", ms=4, color="#1f5aa6")
