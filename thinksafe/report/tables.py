"""The tables of the report as plain rows; the templates only lay them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from thinksafe.config.checks import Maker, find
from thinksafe.records import Check, CheckStatus, Decision, Interval, Metric, Role
from thinksafe.report.summary import RunSummary, reasoning_average
from thinksafe.report.summary.model import Step
from thinksafe.report.training_charts import REASONS
from thinksafe.run.details import FunnelRow, Rate
from thinksafe.text import DASH, bracket, count, duration, percent, points

STATUSES: tuple[CheckStatus, ...] = ("failed", "waived", "passed")

KIND_NAMES = {"harm": "Harm ratio", "over_refusal": "Over-refusal", "reasoning": "Reasoning pass@1"}

RUN_SPECIFIC = frozenset({"registration", "promotion"})
"""Outputs whose digests differ between equal runs; they are shown in the timing block only."""


class Cell(NamedTuple):
    """One cell: its text, the exact number (as in JSON, used for sorting), and a second line."""

    text: str
    value: str = ""
    note: str = ""


NONE = Cell(DASH)


class Figure(NamedTuple):
    """One headline number, before and after."""

    name: str
    detail: str
    before: Cell | None
    after: Cell | None
    champion: Cell | None
    n: int
    models: tuple[Role, Role]
    """The models of before and after."""


def share(value: float | None, interval: Interval | None = None) -> Cell:
    """Return the cell of a share: percent, with the interval below it."""
    if value is None:
        return NONE
    return Cell(percent(value), repr(value), bracket(interval) if interval is not None else "")


def whole(value: float | None) -> Cell:
    """Return the cell of a count."""
    return NONE if value is None else Cell(count(value), repr(value))


class CheckRow(NamedTuple):
    """One check of a decision."""

    name: str
    group: str
    status: CheckStatus
    value: Cell
    threshold: Cell
    n: Cell
    reason: str


class MetricRow(NamedTuple):
    """One metric of every model."""

    kind: str
    benchmark: str
    part: str
    n: Cell
    models: tuple[Cell, ...]
    unknown: Cell
    truncated: Cell


def checks(decision: Decision, maker: Maker) -> list[CheckRow]:
    """Return the rows of the checks that a stage made, failed ones first, then waived ones."""
    ordered = by_status(decision.checks)
    return [
        CheckRow(
            check.name, _group(check, maker), check.status, _check_value(check, check.value, check.interval),
            _check_value(check, check.threshold), whole(check.n), check.reason,
        )
        for check in ordered
    ]


def _group(check: Check, maker: Maker) -> str:
    spec = find(check.name, maker)
    return "" if spec is None else spec.group


def by_status(found: Iterable[Check]) -> list[Check]:
    """Return checks in the order failed, waived, passed; within each in their own."""
    return sorted(found, key=lambda check: STATUSES.index(check.status))


def _check_value(check: Check, value: float | None, interval: Interval | None = None) -> Cell:
    if value is None:
        return NONE
    match check.unit:
        case "count":
            return whole(value)
        case "points":
            return share(value, interval)._replace(text=points(value))
        case "%":
            return share(value, interval)
    return Cell(f"{value:g}", repr(value))


def headline(summary: RunSummary) -> list[Figure]:
    """Return harm, over-refusal and reasoning before and after; of several benchmarks, the one that is worst after."""
    part = summary.setting("gate", "harm", "part", default="whole")
    figures = []
    for kind, of in (("harm", part), ("over_refusal", "whole")):
        by_role = {
            role: {m.benchmark: m for m in metrics.metrics if m.kind == kind and m.part == of}
            for role, metrics in summary.metrics.items()
        }
        judged = by_role.get("candidate") or by_role.get("evaluated") or by_role.get("base") or {}
        if not judged:
            continue
        worst = max(judged.values(), key=lambda metric: metric.value)
        cells = {role: _metric_cell(metrics.get(worst.benchmark)) for role, metrics in by_role.items()}
        detail = worst.benchmark if len(judged) == 1 else f"{worst.benchmark}, highest of {len(judged)}"
        figures.append(_figure(KIND_NAMES[kind], detail, cells, worst.n))
    averages = {role: reasoning_average(metrics) for role, metrics in summary.metrics.items()}
    known = {role: average for role, average in averages.items() if average is not None}
    if known:
        names = {m.benchmark for metrics in summary.metrics.values() for m in metrics.metrics if m.kind == "reasoning"}
        detail = next(iter(names)) if len(names) == 1 else f"average of {len(names)} benchmarks"
        cells = {role: share(average.value, average.interval) for role, average in known.items()}
        figures.append(_figure(KIND_NAMES["reasoning"], detail, cells, int(next(iter(known.values())).n)))
    return figures


def _figure(name: str, detail: str, cells: Mapping[Role, Cell | None], n: int) -> Figure:
    pair: tuple[Role, Role] = ("previous", "evaluated") if "evaluated" in cells else ("base", "candidate")
    return Figure(name, detail, cells.get(pair[0]), cells.get(pair[1]), cells.get("champion"), n, pair)


def _metric_cell(metric: Metric | None) -> Cell | None:
    return None if metric is None else share(metric.value, metric.interval)


def metrics(summary: RunSummary) -> list[MetricRow]:
    """Return a row for each metric; unknown and truncated: the candidate's or evaluated model's, else the first's."""
    names: dict[str, dict[Role, Metric]] = {}
    for role, metric_set in summary.metrics.items():
        for metric in metric_set.metrics:
            names.setdefault(metric.name, {})[role] = metric
    rows = []
    for by_role in names.values():
        of = by_role.get("candidate") or by_role.get("evaluated") or next(iter(by_role.values()))
        cells = tuple(_metric_cell(by_role.get(role)) or NONE for role in summary.metrics)
        rows.append(
            MetricRow(
                KIND_NAMES[of.kind], of.benchmark, of.part, whole(of.n), cells, whole(of.unknown), whole(of.truncated)
            )
        )
    return rows


def settings(summary: RunSummary) -> list[str]:
    """Return the distinct sampling settings of the metrics, in words."""
    found = {metric.settings for metric_set in summary.metrics.values() for metric in metric_set.metrics}
    return sorted(
        f"temperature {s.temperature:g}, top-p {s.top_p:g}, top-k {s.top_k or 'off'}, at most {s.max_tokens:,} tokens"
        for s in found
    )


def interval_methods(summary: RunSummary) -> list[str]:
    """Return the distinct confidences and methods of the metrics' intervals."""
    found = (metric.interval for metric_set in summary.metrics.values() for metric in metric_set.metrics)
    return sorted({f"{percent(interval.confidence, 0)} {interval.method}" for interval in found})


class Funnel(NamedTuple):
    """Outcomes of samples: the reasons that occur, and rows of label, arm, count by reason, and total."""

    reasons: list[str]
    rows: list[tuple[str, str, list[Cell], Cell]]


def funnel(counted: Sequence[FunnelRow]) -> Funnel:
    """Return the table of a funnel; no rows if nothing was counted."""
    order = list(REASONS)
    reasons = sorted(
        {row.reason for row in counted},
        key=lambda reason: (order.index(reason) if reason in order else len(order), reason),
    )
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for row in counted:
        of = groups.setdefault((row.label, row.drawn), {})
        of[row.reason] = of.get(row.reason, 0) + row.count
    rows = []
    for (label, arm), counts in groups.items():
        total = sum(counts.values())
        cells = [
            Cell(count(counts[reason]), repr(counts[reason]), percent(counts[reason] / total) if total else "")
            if reason in counts
            else NONE
            for reason in reasons
        ]
        rows.append((label, arm, cells, whole(total)))
    return Funnel([_capitalised(REASONS.get(reason, (reason,))[0]) for reason in reasons], rows)


def rounds(summary: RunSummary) -> list[tuple[str, Cell, Cell, Cell]]:
    """Return name, share of harmful and of benign samples that were accepted, and examples of each round."""
    found = []
    for number, rows in enumerate(summary.rounds, 1):
        drawn, kept = Counter[str](), Counter[str]()
        for row in rows:
            drawn[row.label] += row.count
            kept[row.label] += row.count * (row.reason == "accepted")
        harmful, benign = (
            Cell(percent(kept[label] / drawn[label]), repr(kept[label] / drawn[label]), f"of {count(drawn[label])}")
            if drawn[label] else NONE
            for label in ("harmful", "benign")
        )
        writer = "the student" if number == 1 else f"the candidate of round {number - 1}"
        found.append((f"Round {number}, sampled from {writer}", harmful, benign, whole(sum(kept.values()))))
    return found


def pilot(summary: RunSummary) -> list[tuple[str, Cell, Cell, Cell]]:
    """Return name, value, threshold and n of the pilot's rates."""
    of = summary.diagnosis
    if of is None:
        return []
    rates: list[tuple[str, Rate | None, float | None]] = [
        ("Accepted, plain sampling", of.acceptance_plain, None),
        ("Accepted, steered sampling", of.acceptance_steered, summary.setting("diagnose", "min_acceptance")),
        ("Flip rate", of.flip_rate, summary.setting("diagnose", "min_flip_rate")),
    ]
    return [
        (name, share(rate.value, rate.interval), share(threshold), whole(rate.n))
        for name, rate, threshold in rates
        if rate is not None
    ]


def steps(summary: RunSummary) -> list[tuple[str, list[Cell]]]:
    """Return for each step its time, GPU time, rows, tokens, tokens per second, chunks reused."""
    return [(step.name + (" (failed)" if step.failed else ""), _step_cells(step)) for step in summary.steps]


def _step_cells(step: Step) -> list[Cell]:
    counts, tokens = step.counts, step.counts.get("tokens_new", step.counts.get("tokens"))
    speed = tokens / step.seconds if tokens and step.seconds > 0 else None
    reused = NONE
    if "chunks" in counts:
        again = counts.get("chunks_reused", 0)
        reused = Cell(f"{count(again)} of {count(counts['chunks'])}", repr(again))
    again_by = ", ".join(f"{ended} ({times})" for ended, times in step.retried.items())
    return [
        Cell(duration(step.seconds), repr(step.seconds), note=f"tried again after {again_by}" if again_by else ""),
        Cell(duration(step.gpu_seconds), repr(step.gpu_seconds)) if step.gpu_seconds else NONE,
        whole(counts.get("rows")), whole(counts.get("tokens")),
        whole(speed), reused,
    ]


def digests(summary: RunSummary) -> list[tuple[str, str, str]]:
    """Return task, name and digest of every output that equal runs share."""
    return [
        (task, name, digest)
        for task, sides in summary.provenance.digests.items()
        for name, digest in sides["outputs"].items()
        if digest and name not in RUN_SPECIFIC
    ]


def flat(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield (dotted key, scalar) of nested mappings and lists."""
    items: Iterable[tuple[str, Any]] = ()
    if isinstance(value, Mapping):
        items = ((str(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        items = ((str(place), item) for place, item in enumerate(value))
    else:
        yield prefix, value
    for key, item in items:
        yield from flat(item, f"{prefix}.{key}" if prefix else key)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
