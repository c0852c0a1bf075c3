"""The page of a comparison: one HTML file. Equal runs give equal bytes outside the timing block."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from thinksafe.report.comparison import tables
from thinksafe.report.comparison.charts import draw_comparison
from thinksafe.report.comparison.model import ComparisonSummary
from thinksafe.report.html import own, render
from thinksafe.report.page import TIMING_BEGIN, TIMING_END, json_text, percents
from thinksafe.text import label


def render_comparison(summary: ComparisonSummary, pictures: Mapping[str, Markup | None] | None = None) -> str:
    """Return the HTML of a comparison, whatever its outcome.

    Args:
        summary: The comparison.
        pictures: Result of :func:`thinksafe.report.comparison.charts.draw_comparison`, if it was already called.
    """
    verdict, result = tables.title(summary), summary.result
    pictures = draw_comparison(summary) if pictures is None else pictures
    subject = str(summary.setting("name") or "comparison")
    numbers = [*result.base.values(), *(number for of in result.methods for number in of.measures.values())]
    return render(
        "comparison.html.jinja", f"{verdict.title}: {label(subject, 80)}", "methods", **pictures, summary=summary,
        result=result, verdict=verdict, subject=subject, sentence=tables.summary_sentence(summary),
        cheapest=tables.cheapest_sentence(summary),
        command=tables.command(summary), methods=tables.methods(summary), work_table=tables.work(summary),
        costs=tables.costs(summary), differences=tables.differences(summary), undecided=tables.undecided(summary),
        stopped=[(tables.numbered(place, of.name), of) for place, of in enumerate(result.methods, 1) if not of.passed],
        confidences=percents(number.interval for number in numbers),
        drift=any(of.drift for of in result.methods), config=json_text(summary.config),
        timing_begin=own(TIMING_BEGIN), timing_end=own(TIMING_END),
    )
