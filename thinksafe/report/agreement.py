"""The tables of the second guard and of panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from thinksafe.measuring.disagreement import VALUES
from thinksafe.report.summary import RunSummary
from thinksafe.report.tables import NONE, Cell, share, whole

PAIRS = tuple((one, two) for one in VALUES for two in VALUES)


class AgreementRow(NamedTuple):
    """How both guards judged the samples of one use, benchmark and part."""

    model: str
    benchmark: str
    part: str
    n: Cell
    rate: Cell
    cells: tuple[Cell, ...]
    """Samples by the verdicts of the first guard and the second, in the order of ``PAIRS``."""


def disagreements(summary: RunSummary) -> list[AgreementRow]:
    """Return a row for each model, benchmark and part that a second guard judged, and for pilot and training."""
    rows = [
        AgreementRow(
            role.capitalize(), of.benchmark, of.part, whole(of.n), share(of.value, of.interval),
            tuple(whole(count) for row in of.matrix for count in row),
        )
        for role, metric_set in summary.metrics.items()
        for of in metric_set.disagreements
    ]
    for use in ("pilot", "training"):
        step = summary.step(f"judge-{use}")
        if step is not None and (row := _counted(step.counts, "second", use.capitalize(), "")) is not None:
            rows.append(row)
    return rows


def panels(summary: RunSummary) -> list[AgreementRow]:
    """Return a row for each use that a panel judged and each of its members, named in place of the benchmark."""
    rows = []
    for use in ("pilot", "training", *summary.metrics):
        step = summary.step(f"judge-{use}")
        guard = summary.provenance.guards.get("filter" if use in ("pilot", "training") else "evaluate", {})
        for place, member in enumerate(str(guard.get("name", "")).partition(": ")[2].split(", ")):
            row = _counted(step.counts, f"member_{place}", use.capitalize(), member) if step is not None else None
            if row is not None:
                rows.append(row)
    return rows


def _counted(counts: Mapping[str, int | float], other: str, model: str, benchmark: str) -> AgreementRow | None:
    """Return the row of a stage's own counts of whole responses, None if it has none with this other guard."""
    found = [counts.get(f"{other}_{one}_{two}") for one, two in PAIRS]
    known = [int(value) for value in found if value is not None]
    if not known:
        return None
    total = sum(known)
    agreed = sum(n for n, (one, two) in zip(known, PAIRS, strict=True) if one == two != "unknown")
    rate = share(1 - agreed / total) if total else NONE
    return AgreementRow(model, benchmark, "whole", whole(total), rate, tuple(map(whole, known)))
