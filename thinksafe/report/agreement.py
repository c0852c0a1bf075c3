"""The table of the second guard."""

from __future__ import annotations

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
        counts = [step.counts.get(f"second_{one}_{two}") for one, two in PAIRS] if step is not None else []
        if known := [int(value) for value in counts if value is not None]:
            total = sum(known)
            agreed = sum(n for n, (one, two) in zip(known, PAIRS, strict=True) if one == two != "unknown")
            rate = share(1 - agreed / total) if total else NONE
            rows.append(AgreementRow(use.capitalize(), "", "whole", whole(total), rate, tuple(map(whole, known))))
    return rows
