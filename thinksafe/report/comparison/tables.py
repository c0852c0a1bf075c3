"""The tables and sentences of a comparison."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from thinksafe.measuring.comparison import LOWER_IS_BETTER, Difference
from thinksafe.records import CheckStatus, MetricKind
from thinksafe.report.comparison.build import BASE
from thinksafe.report.comparison.model import ComparisonOutcome, ComparisonSummary, MethodResult, Number
from thinksafe.report.evidence import Row, Table
from thinksafe.report.tables import KIND_NAMES, NONE, Cell, share, whole
from thinksafe.report.words import VERDICTS, Verdict
from thinksafe.text import DASH, bracket, duration, number_range, plural, points

SHOWN: tuple[MetricKind, ...] = tuple(LOWER_IS_BETTER)


def title(summary: ComparisonSummary) -> Verdict:
    """Return the title of a comparison with its symbol and tone."""
    result = summary.result
    passing, n = len(result.passing), len(result.methods)
    titles: dict[ComparisonOutcome, Verdict] = {
        "some pass": Verdict(f"{passing} of {plural(n, 'method')} pass{'es' if passing == 1 else ''}", "✓", "good"),
        "none passes": Verdict(f"None of {plural(n, 'method')} passes", "✕", "bad"),
        "failed": VERDICTS["failed"], "incomplete": VERDICTS["incomplete"],
    }
    return titles[result.outcome]


def summary_sentence(summary: ComparisonSummary) -> str:
    """Return what the comparison found, in one or two sentences; nothing in them differs between equal runs."""
    result = summary.result
    if result.outcome == "incomplete":
        return "The comparison has not ended; there is no result yet."
    parts = []
    if result.passing:
        parts.append(f"The gate's checks hold for {', '.join(result.passing)}.")
    elif result.outcome == "none passes":
        parts.append("No candidate passes the gate.")
    if failed := [of.name for of in result.methods if of.outcome == "failed"]:
        parts.append(f"Failed: {', '.join(failed)}; the others are not affected.")
    elif result.outcome == "failed":
        parts.append("The comparison failed before a method was measured.")
    return " ".join(parts)


def cheapest_sentence(summary: ComparisonSummary) -> str:
    """Return which passing method is the cheapest; empty if only one passes, or none."""
    costs = summary.costs
    if len(summary.result.passing) < 2:
        return ""
    why = " (part of the work was found in the store, so times do not tell)" if costs.basis == "tokens" else ""
    return f"The cheapest of them is {costs.cheapest}, by {costs.basis}{why}."


def command(summary: ComparisonSummary) -> str:
    """Return the command that realigns with the cheapest passing method; empty if none passes."""
    chosen = next((of for of in summary.result.methods if of.name == summary.costs.cheapest), None)
    if chosen is None:
        return ""
    settings = dict(_flat(chosen.overrides))
    ordered = sorted(settings, key=lambda key: key != "method.kind")  # another kind drops options of the old one
    changes = [f"--set {shlex.quote(f'{key}={_value(settings[key])}')}" for key in ordered]
    return " ".join(["thinksafe run FILE --out DIR", *changes])


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, value


def _value(value: Any) -> str:
    plain = isinstance(value, str) and value.replace("-", "").replace("_", "").isalpha()
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def numbered(place: int, name: str) -> str:
    """Return how a method is called in tables: by the number that it has in the pictures, and its name."""
    return f"{place} {name}"


def methods(summary: ComparisonSummary) -> Table:
    """Return a row for each model: what it was measured at, whether it passes, and by whom it is dominated."""
    result = summary.result
    rows = [Row((BASE, "the student as it is", DASH), _measures(result.base))]
    rows += [
        Row(
            (numbered(place, of.name), _gate_word(of), ", ".join(of.dominated_by) or DASH), _measures(of.measures),
            _status(of),
        )
        for place, of in enumerate(result.methods, 1)
    ]
    columns = tuple(KIND_NAMES[kind] for kind in SHOWN)
    return Table(("Method", "Outcome", "Dominated by"), columns, tuple(rows))


def _status(of: MethodResult) -> CheckStatus:
    return "passed" if of.passed else "failed"


def _gate_word(of: MethodResult) -> str:
    return "passes the gate" if of.passed else of.outcome


def _measures(of: Mapping[MetricKind, Number]) -> tuple[Cell, ...]:
    return tuple(share(of[kind].value, of[kind].interval) if kind in of else NONE for kind in SHOWN)


def work(summary: ComparisonSummary) -> Table:
    """Return what it takes to make each candidate, and how far it moved from the student."""
    rows = [
        Row(
            (numbered(place, of.name),),
            (
                whole(of.work.responses), whole(of.work.tokens_sampled), whole(of.work.tokens_trained),
                *(_drift(of, "nll_student", label) for label in ("harmful", "benign")),
                *(_drift(of, "kl", label) for label in ("harmful", "benign")),
            ),
        )
        for place, of in enumerate(summary.result.methods, 1)
    ]
    columns = (
        "Responses sampled", "Tokens sampled", "Tokens trained", "NLL, harmful", "NLL, benign", "KL, harmful",
        "KL, benign",
    )
    return Table(("Method",), columns, tuple(rows))


def _drift(of: MethodResult, measure: str, label: str) -> Cell:
    found = next((one for one in of.drift if (one.measure, one.label) == (measure, label)), None)
    if found is None:
        return NONE
    return Cell(f"{found.value:.3f}", repr(found.value), number_range(found.interval, 3))


def costs(summary: ComparisonSummary) -> Table:
    """Return time, GPU time and money of each method."""
    price = summary.costs
    money = any(of.money is not None for of in price.methods.values())
    rows = [
        Row(
            (numbered(place, name),),
            (
                Cell(duration(of.seconds), repr(of.seconds), "partly reused" if of.reused else ""),
                Cell(duration(of.gpu_seconds), repr(of.gpu_seconds)) if of.gpu_seconds else NONE,
                *((Cell(f"{of.money:,.2f}", repr(of.money)) if of.money is not None else NONE,) if money else ()),
            ),
        )
        for place, (name, of) in enumerate(price.methods.items(), 1)
    ]
    columns = ("Time", "GPU time", *((price.currency,) if money else ()))
    return Table(("Method",), columns, tuple(rows))


def differences(summary: ComparisonSummary) -> Table:
    """Return a row for each pair of models: the differences with their simultaneous intervals."""
    found = summary.result.differences
    by_pair: dict[tuple[str, str], dict[MetricKind, Difference]] = {}
    for one in found.found if found is not None else ():
        by_pair.setdefault((one.second, one.first), {})[one.measure] = one.turned()
    order = [*(of.name for of in summary.result.methods), BASE]
    rows = [
        Row(pair, tuple(_difference(by_pair[pair].get(kind)) for kind in SHOWN))
        for pair in sorted(by_pair, key=lambda pair: (pair[1] != BASE, order.index(pair[0]), order.index(pair[1])))
    ]
    return Table(("Method", "Against"), tuple(KIND_NAMES[kind] for kind in SHOWN), tuple(rows))


def _difference(of: Difference | None) -> Cell:
    if of is None:
        return NONE
    sign = {"first": "better ", "second": "worse ", "": ""}[of.better]
    return Cell(points(of.value), repr(of.value), f"{sign}{bracket(of.interval)}")


def undecided(summary: ComparisonSummary) -> list[tuple[str, str]]:
    """Return the pairs of passing methods of which no measure differs beyond the simultaneous intervals."""
    result = summary.result
    found = result.differences
    apart = {
        frozenset((one.first, one.second)) for one in (found.found if found is not None else ()) if one.better
    }
    return [pair for pair in combinations(result.passing, 2) if frozenset(pair) not in apart]
