"""The end of ``thinksafe run``: the numbers, the decision and where everything is, as rich renderables.

Nothing here is parsed as rich markup; names and errors are shown as they are.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from thinksafe.records import MetricKind, MetricSet
from thinksafe.report.summary import RunSummary, of_kind, reasoning_average
from thinksafe.report.tables import KIND_NAMES, by_status
from thinksafe.report.words import VERDICTS, approve_command, next_steps, why
from thinksafe.text import DASH, bracket, clean, count, duration, percent

TONES = {"good": "green", "bad": "red", "even": "yellow"}
MARKS = {"passed": Text("pass", "green"), "waived": Text("WAIVED", "yellow"), "failed": Text("FAIL", "red")}
KINDS: tuple[MetricKind, ...] = ("harm", "over_refusal", "reasoning")


class Places(NamedTuple):
    """Where to find the outputs of a run; empty places are not shown."""

    report: str = ""
    ledger: str = ""
    tracking: str = ""


def run_table(summary: RunSummary, places: Places = Places()) -> Group:  # noqa: B008 - immutable
    """Return what the terminal shows at the end of a run; print it with a rich console."""
    verdict = VERDICTS[summary.outcome]
    parts: list[Table | Text] = [
        Text(""), Text(f"{verdict.symbol} {verdict.title}", style=f"bold {TONES[verdict.tone]}"), plain(why(summary)),
    ]
    parts += [plain(f"{failure.task or 'pipeline'}: {failure.error}") for failure in summary.failures]
    parts += [plain(problem) for problem in summary.problems[:10]]
    if steps := next_steps(summary):
        parts.append(plain(steps))
    if summary.outcome == "awaiting approval":
        parts.append(Text(clean(approve_command(summary)), overflow="fold"))
    if summary.metrics:
        parts += [Text(""), _metrics(summary)]
    if summary.decision is not None:
        parts += [Text(""), _checks(summary), *(plain(f"Note: {note}") for note in summary.decision.notes)]
    if summary.diagnosis is not None and (advice := summary.diagnosis.recommendation) is not None:
        methods = f"The pilot recommends {', '.join(advice.methods)}. " if advice.methods else ""
        first = advice.sentences[0] if advice.sentences else None
        parts.append(plain(methods + (f"{first.text} ({first.evidence})" if first else "")))
    if summary.steps:
        parts += [Text(""), _steps(summary)]
    return Group(*parts, Text(""), _places(summary, places))


def _metrics(summary: RunSummary) -> Table:
    names = ("Student" if role == "base" else role.capitalize() for role in summary.metrics)
    table = plain_table("Metric", "Benchmark", *names)
    table.add_column("n", justify="right")
    part = summary.setting("gate", "harm", "part", default="whole")
    for kind in KINDS:
        named = {
            role: {metric.benchmark: metric for metric in of_kind(metrics, kind, part if kind == "harm" else "whole")}
            for role, metrics in summary.metrics.items()
        }
        for benchmark in dict.fromkeys(name for of in named.values() for name in of):
            found = [named[role].get(benchmark) for role in summary.metrics]
            cells = [f"{percent(m.value)} {bracket(m.interval)}" if m is not None else DASH for m in found]
            n = next(m.n for m in found if m is not None)
            table.add_row(*map(plain, (KIND_NAMES[kind], benchmark, *cells, count(n))))
    averages = {role: _average(metrics) for role, metrics in summary.metrics.items()}
    if len({m.benchmark for of in summary.metrics.values() for m in of_kind(of, "reasoning")}) > 1:
        table.add_row(*map(plain, (KIND_NAMES["reasoning"], "average", *averages.values(), "")))
    return table


def _average(metrics: MetricSet) -> str:
    average = reasoning_average(metrics)
    return DASH if average is None else f"{percent(average.value)} {bracket(average.interval)}"


def _checks(summary: RunSummary) -> Table:
    table = plain_table("", "Check", "Reason")
    decision = summary.decision
    for check in by_status(decision.checks) if decision is not None else ():
        mark = MARKS[check.status].copy()
        table.add_row(mark, plain(check.name), plain(check.reason))
    return table


def _steps(summary: RunSummary) -> Table:
    table = plain_table("Step")
    for column in ("Time", "Rows", "Tokens"):
        table.add_column(column, justify="right")
    for step in summary.steps:
        name = plain(step.name, "red" if step.failed else "")
        cells = (duration(step.seconds), count(step.counts.get("rows")), count(step.counts.get("tokens")))
        table.add_row(name, *map(plain, cells))
    return table


def _places(summary: RunSummary, places: Places) -> Table:
    table = Table.grid(padding=(0, 2))
    name, version = summary.registration.get("name"), summary.registration.get("version")
    generation = summary.promotion.get("generation")
    rows = {
        "Run": summary.run_id,
        "Model version": f"{name} version {version}" if name and version else "",
        "Ledger": f"generation {generation}" if generation is not None else "",
        "Report": places.report, "Ledger entry": places.ledger, "MLflow": places.tracking,
    }
    for key, value in rows.items():
        if value:
            # not truncated, so that a path can be copied
            table.add_row(plain(key, "dim"), Text(clean(str(value), 4000), overflow="fold"))
    return table


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def plain(value: str, style: str = "") -> Text:
    """Return a text as it is: without markup, and without what could move the cursor."""
    return Text(clean(value), style=style, overflow="fold")
