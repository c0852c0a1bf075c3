"""The report page of a run: one HTML file. Equal runs give equal bytes outside the timing block."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from thinksafe.audit.records import AuditScores
from thinksafe.records import Interval
from thinksafe.report import agreement, charts, evidence, on_policy, pilot, tables, training_charts, words
from thinksafe.report.approved import approvals_of
from thinksafe.report.html import own, render
from thinksafe.report.literature import literature
from thinksafe.report.samples import Browser
from thinksafe.report.summary import RunSummary
from thinksafe.text import clean, label, percent

TIMING_BEGIN, TIMING_END = "<!-- timing block: begin -->", "<!-- timing block: end -->"
CONFIG_CHARACTERS = 200_000
DIGESTS = 1000
"""Largest number of digests shown; provenance.json has all."""
NO_SAMPLES = Browser()
HIDDEN = frozenset({"schema_version", "adapter", "weights"})
"""Details of a stage that are of no use to a reader of the page."""


def draw_pictures(summary: RunSummary) -> dict[str, Markup | None]:
    """Return the pictures of a run by name; None if there is nothing to draw."""
    ends = summary.diagnosis.funnel if summary.diagnosis is not None else ()
    return {
        "plane": charts.plane(summary), "forest": charts.forest(summary), "curve": training_charts.curve(summary),
        "on_policy_chart": on_policy.picture(summary),
        "pilot_chart": training_charts.pilot(summary),
        "pilot_funnel_chart": training_charts.funnel("pilot-funnel", ends),
        "funnel_chart": training_charts.funnel("funnel", summary.funnel),
    }


def render_page(
    summary: RunSummary, browser: Browser = NO_SAMPLES, audits: Sequence[AuditScores] = (),
    pictures: Mapping[str, Markup | None] | None = None,
) -> str:
    """Return the HTML of a run's report, whatever the outcome of the run.

    Args:
        summary: The run.
        browser: Rows of the sample browser.
        audits: Scores of people's labels that were stored with the run.
        pictures: Result of :func:`draw_pictures`, if it was already called.
    """
    ends = summary.diagnosis.funnel if summary.diagnosis is not None else ()
    pictures = draw_pictures(summary) if pictures is None else pictures
    rows = {
        "headline": tables.headline(summary),
        "checks": tables.checks(summary.decision, summary.maker) if summary.decision is not None else [],
        "metrics": tables.metrics(summary), "disagreements": agreement.disagreements(summary),
        "panels": agreement.panels(summary),
        "contexts": pilot.contexts(summary), "pilot_numbers": pilot.numbers(summary),
        "predicted": pilot.predicted(summary), "costs": pilot.costs(summary),
        "pilot": tables.pilot(summary), "pilot_funnel": tables.funnel(ends),
        "funnel": tables.funnel(summary.funnel), "rounds": tables.rounds(summary), "steps": tables.steps(summary),
        "digests": tables.digests(summary)[:DIGESTS],
        "training": _scalars(summary.training), "registration": _scalars(summary.registration),
        "promotion": _scalars(summary.promotion), "code": _scalars(summary.provenance.code),
        "over_refusal": evidence.over_refusal(summary), "parts": evidence.parts(summary),
        "literature": literature(summary), "on_policy": on_policy.table(summary),
        "robustness": evidence.robustness(summary), "drift": evidence.drift(summary),
        "drift_confidences": percents(found.interval for found in summary.drift),
        "contamination": evidence.contamination(summary), "audits": evidence.audits(audits),
        "thresholds": list(tables.flat({key: summary.setting(key) for key in ("diagnose", "curate", "gate")})),
    }
    verdict = words.VERDICTS[summary.outcome]
    subject = summary.setting("registry", "model") or summary.setting("student", "model") or "realignment"
    return render(
        "report.html.jinja", f"{verdict.title}: {label(str(subject), 80)}", "decision", **pictures, **rows,
        summary=summary, verdict=verdict, approvals=approvals_of(summary),
        approve=words.approve_command(summary), why=words.why(summary), estimate=words.estimated(summary),
        next_steps=words.next_steps(summary), missing=words.missing_steps(summary), most_digests=DIGESTS,
        limits=words.limits(summary, audited=bool(audits)), browser=browser,
        verdict_pairs=[f"{one}, {two}" for one, two in agreement.PAIRS],
        confidences=percents(check.interval for check in summary.decision.checks) if summary.decision else [],
        roles=list(summary.metrics), settings=tables.settings(summary),
        models=[role.capitalize() for role in summary.metrics], methods=tables.interval_methods(summary),
        seconds=sum(step.seconds for step in summary.steps),
        gpu_seconds=sum(step.gpu_seconds for step in summary.steps),
        tokens=sum(step.counts.get("tokens", 0) for step in summary.steps),
        started=min((step.started for step in summary.steps), default=None),
        config=json_text(summary.provenance.config), timing_begin=own(TIMING_BEGIN), timing_end=own(TIMING_END),
    )


def without_timing(page: str) -> str:
    """Return a page without what is in timing marks: the part that equal runs share byte for byte."""
    return re.sub(f"{re.escape(TIMING_BEGIN)}.*?{re.escape(TIMING_END)}", "", page, flags=re.DOTALL)


def json_text(value: Any) -> Markup:
    """Return JSON for a page, escaped and, where it is very long, cut."""
    document = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str)
    lines = (clean(line) for line in document[:CONFIG_CHARACTERS].split("\n"))
    return escape("\n".join(lines))


def _scalars(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the values worth reading; digests are listed under provenance."""
    return [
        (key.replace("_", " "), value)
        for key, value in values.items()
        if isinstance(value, str | int | float) and key not in HIDDEN and not re.fullmatch("|[0-9a-f]{64}", str(value))
    ]


def percents(intervals: Iterable[Interval | None]) -> list[str]:
    """Return the distinct confidences of intervals, in percent."""
    return sorted({percent(interval.confidence, 0) for interval in intervals if interval is not None})
