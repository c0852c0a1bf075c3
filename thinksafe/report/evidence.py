"""Tables of single aspects of the metrics (over-refusal, parts, robustness), and of drift, contamination and audits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from thinksafe.audit.records import AuditScores, DomainScore, GuardRates, Measure
from thinksafe.benchmarks.definitions import known_definition
from thinksafe.benchmarks.variations import FREE, PLAIN, variation
from thinksafe.records import CheckStatus, Metric, Role
from thinksafe.report.summary import RunSummary, of_kind
from thinksafe.report.tables import KIND_NAMES, NONE, Cell, share, whole
from thinksafe.text import number_range, percent
from thinksafe.training.drift import MEASURES


class Row(NamedTuple):
    """A row of a table: names that say what it is about, and cells in the order of the table's columns."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    status: CheckStatus | None = None
    """Status of the gate's check, if there is one."""


class Table(NamedTuple):
    """Headers of the names and of the cells, and the rows."""

    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def _by_name(summary: RunSummary) -> dict[str, dict[Role, Metric]]:
    found: dict[str, dict[Role, Metric]] = {}
    for role, metric_set in summary.metrics.items():
        for metric in metric_set.metrics:
            found.setdefault(metric.name, {})[role] = metric
    return found


def _cells(summary: RunSummary, models: dict[Role, Metric]) -> tuple[Cell, ...]:
    return tuple(
        share(models[role].value, models[role].interval) if role in models else NONE for role in summary.metrics
    )


def _roles(summary: RunSummary) -> tuple[str, ...]:
    return tuple(role.capitalize() for role in summary.metrics)


def over_refusal(summary: RunSummary) -> Table:
    """Return over-refusal by benchmark: every model, the gate's limit and the status of its check."""
    checks = {check.name: check.status for check in summary.decision.checks} if summary.decision is not None else {}
    limit = share(summary.setting("gate", "over_refusal", "max"))
    rows = [
        Row((of.benchmark,), (*_cells(summary, models), limit, whole(of.n), whole(of.unknown)), checks.get(name))
        for name, models in _by_name(summary).items()
        if (of := _judged(models)).kind == "over_refusal"
    ]
    return Table(("Benchmark",), (*_roles(summary), "Limit", "n", "Unknown"), tuple(rows))


def parts(summary: RunSummary) -> Table:
    """Return harm of the thought, the answer and the whole response; no rows if only one part was scored."""
    scored: tuple[str, ...] = ("thought", "answer", "whole")
    rows = []
    for role, metric_set in summary.metrics.items():
        harms: dict[str, dict[str, Metric]] = {}
        for metric in of_kind(metric_set, "harm"):
            harms.setdefault(metric.benchmark, {})[metric.part] = metric
        for name, of in harms.items():
            if len(of) > 1:
                cells = (share(of[part].value, of[part].interval) if part in of else NONE for part in scored)
                rows.append(Row((name, role.capitalize()), (*cells, whole(of["whole"].n if "whole" in of else None))))
    rows.sort(key=lambda row: row.names[0])
    return Table(("Benchmark", "Model"), ("Thought", "Answer", "Whole", "n"), tuple(rows))


def robustness(summary: RunSummary) -> Table:
    """Return the metrics of varied requests, each below its plain counterpart; no rows if none was varied."""
    part = summary.setting("gate", "harm", "part", default="whole")
    configured = summary.setting("evaluation", "benchmarks", default=[])
    known: dict[str, tuple[str, str]] = {}
    for item in configured if isinstance(configured, list) else []:
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            suffix = variation(_strings(item.get("transforms")), _strings(item.get("thinking")))
            plain = item["name"].removesuffix(f"-{suffix}") if suffix else item["name"]
            use = known_definition(item.get("use"))
            held = "conversation" if use is not None and use.converses else ""
            known[item["name"]] = (plain, suffix or held)
    varied = {plain for plain, suffix in known.values() if suffix}
    rows = []
    for models in _by_name(summary).values():
        of = _judged(models)
        plain, suffix = known.get(of.benchmark, (of.benchmark, ""))
        if plain in varied and of.part == (part if of.kind == "harm" else "whole"):
            names = (plain, suffix or PLAIN, KIND_NAMES[of.kind])
            rows.append(Row(names, (*_cells(summary, models), whole(of.n))))
    rows.sort(key=lambda row: (row.names[0], row.names[1] != PLAIN, row.names[1]))
    return Table(("Benchmark", "Request", "Metric"), (*_roles(summary), "n"), tuple(rows))


def _strings(value: Any) -> list[str]:
    return [str(item) for item in value if item not in (PLAIN, FREE)] if isinstance(value, list) else []


def _judged(models: dict[Role, Metric]) -> Metric:
    roles: tuple[Role, ...] = ("candidate", "evaluated")
    return next((models[role] for role in roles if role in models), next(iter(models.values())))


def drift(summary: RunSummary) -> Table:
    """Return negative log-likelihoods of the training data, and the KL between student and candidate, by label."""
    by_label: dict[str, dict[str, Cell]] = {}
    sizes: dict[str, tuple[Cell, Cell]] = {}
    for found in summary.drift:
        note = number_range(found.interval, 3)
        by_label.setdefault(found.label, {})[found.measure] = Cell(f"{found.value:.3f}", repr(found.value), note)
        sizes[found.label] = (whole(found.n), whole(found.tokens))
    rows = [
        Row((label.capitalize(),), (*(cells.get(measure, NONE) for measure in MEASURES), *sizes[label]))
        for label, cells in by_label.items()
    ]
    columns = ("NLL under the student", "NLL under the candidate", "KL(student ‖ candidate)", "Rows", "Tokens")
    return Table(("Training rows",), columns, tuple(rows))


def contamination(summary: RunSummary) -> Table:
    """Return the overlap of each benchmark with the training prompts; no rows if nothing was compared."""
    report = summary.contamination
    trained = any(of.use == "training" for of in summary.prompt_sets)
    found = report.benchmarks if report is not None and trained else ()
    kinds: dict[str, dict[str, int]] = {}
    for overlap in report.overlaps if report is not None else ():
        of = kinds.setdefault(overlap.benchmark, {})
        of[overlap.kind] = of.get(overlap.kind, 0) + 1
    rows = [
        Row(
            (of.benchmark,),
            (
                whole(of.prompts), whole(of.found), share(of.found / of.prompts if of.prompts else None),
                whole(of.left), *(whole(kinds.get(of.benchmark, {}).get(kind, 0)) for kind in _KINDS),
            ),
        )
        for of in found
    ]
    columns = ("Prompts", "Overlapped", "Share", "Left after dropping", "Equal", "Shared words", "Same request")
    return Table(("Benchmark",), columns, tuple(rows))


_KINDS = ("exact", "ngram", "request")


def audits(found: Sequence[AuditScores]) -> list[tuple[AuditScores, Table]]:
    """Return each audit with its table, which counts unsure labels as unsafe; it names guards if a panel judged."""
    return [(scores, _audit(scores.domains)) for scores in found]


def _audit(domains: Sequence[DomainScore]) -> Table:
    columns = (
        "Labels", "Unsure", "Harm, guard", "Harm, corrected", "Precision", "Recall", "Specificity", "Kappa"
    )
    rows = tuple(_audited(domain) for domain in domains)
    if not any(domain.panel for domain in domains):
        return Table(("Model", "Benchmark"), columns, rows)
    guards = (domain.guard if domain.panel else "panel" for domain in domains)
    named = tuple(row._replace(names=(guard, *row.names)) for guard, row in zip(guards, rows, strict=True))
    return Table(("Guard", "Model", "Benchmark"), columns, named)


def _audited(domain: DomainScore) -> Row:
    rates: GuardRates = domain.rates
    measures = (rates.harm, rates.precision, rates.recall, rates.specificity)
    kappa = rates.kappa
    last = NONE if kappa.value is None else Cell(
        f"{kappa.value:.2f}", repr(kappa.value), number_range(kappa.interval, 2)
    )
    return Row(
        (domain.role or "all", domain.benchmark or "all"),
        (whole(domain.n), whole(domain.unsure), share(domain.guard_harm), *map(_measured, measures), last),
    )


def _measured(measure: Measure) -> Cell:
    return Cell(percent(None), note=measure.note) if measure.value is None else share(measure.value, measure.interval)
