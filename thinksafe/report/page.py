"""The report page: one HTML file that needs no network, no script and no other file.

Every text on it comes through :func:`thinksafe.report.text.clean` and Jinja's escaping, and a content security policy
forbids what is not the page's own. Equal runs give equal bytes outside the timing block.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from thinksafe import __version__
from thinksafe.report import agreement, charts, tables, training_charts, words
from thinksafe.report.text import clean, count, duration, label, percent, plural, utc
from thinksafe.summary import RunSummary

TIMING_BEGIN, TIMING_END = "<!-- timing block: begin -->", "<!-- timing block: end -->"
CONFIG_CHARACTERS = 200_000
HIDDEN = frozenset({"schema_version", "adapter"})
"""Details of a stage that a reader of the page has no use for."""


def render_page(summary: RunSummary) -> str:
    """Return the HTML of a run's report, whatever came of the run."""
    script = _asset("report.js")
    ends = summary.diagnosis.funnel if summary.diagnosis is not None else ()
    pictures = {
        "plane": charts.plane(summary), "forest": charts.forest(summary), "curve": training_charts.curve(summary),
        "pilot_chart": training_charts.pilot(summary),
        "pilot_funnel_chart": training_charts.funnel("pilot-funnel", ends),
        "funnel_chart": training_charts.funnel("funnel", summary.funnel),
    }
    rows = {
        "headline": tables.headline(summary),
        "checks": tables.checks(summary.decision) if summary.decision is not None else [],
        "metrics": tables.metrics(summary), "disagreements": agreement.disagreements(summary),
        "pilot": tables.pilot(summary), "pilot_funnel": tables.funnel(ends),
        "funnel": tables.funnel(summary.funnel), "steps": tables.steps(summary),
        "digests": tables.digests(summary),
        "training": _scalars(summary.training), "registration": _scalars(summary.registration),
        "promotion": _scalars(summary.promotion), "code": _scalars(summary.provenance.code),
        "thresholds": list(tables.flat({key: summary.setting(key) for key in ("diagnose", "curate", "gate")})),
    }
    return _environment().get_template("report.html.jinja").render(
        **pictures, **rows, summary=summary, verdict=words.VERDICTS[summary.outcome], why=words.why(summary),
        next_steps=words.next_steps(summary), missing=words.missing_steps(summary), limits=words.limits(summary),
        verdict_pairs=[f"{one}, {two}" for one, two in agreement.PAIRS], confidences=_confidences(summary),
        roles=list(summary.metrics), settings=tables.settings(summary),
        models=[role.capitalize() for role in summary.metrics], methods=tables.interval_methods(summary),
        seconds=sum(step.seconds for step in summary.steps),
        tokens=sum(step.counts.get("tokens", 0) for step in summary.steps),
        started=min((step.started for step in summary.steps), default=None), config=_config(summary),
        version=__version__, style=_own(_asset("report.css")), script=_own(script), script_hash=_sha256(script),
        timing_begin=_own(TIMING_BEGIN), timing_end=_own(TIMING_END),
    )


def without_timing(page: str) -> str:
    """Return a page without its timing block: the part that equal runs share byte for byte."""
    return re.sub(f"{re.escape(TIMING_BEGIN)}.*?{re.escape(TIMING_END)}", "", page, flags=re.DOTALL)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("thinksafe.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_finalize,
    )
    environment.filters.update(
        count=count, duration=duration, percent=percent, utc=utc, brief=lambda text: label(str(text), 80),
        breakable=_breakable,
    )
    environment.globals.update(plural=plural)
    return environment


def _finalize(value: Any) -> Any:
    """Every expression of the template passes here before it is escaped."""
    if isinstance(value, Markup):
        return value
    return clean(value) if isinstance(value, str) else value


def _breakable(name: str) -> Markup:
    """Let a name such as ``harm/<benchmark>`` break at its slashes."""
    return escape(clean(name)).replace("/", Markup("/<wbr>"))


def _config(summary: RunSummary) -> Markup:
    document = json.dumps(summary.provenance.config, indent=2, ensure_ascii=False, sort_keys=True, default=str)
    lines = (clean(line) for line in document[:CONFIG_CHARACTERS].split("\n"))
    return escape("\n".join(lines))


def _scalars(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """Values worth reading; digests stand under provenance."""
    return [
        (key.replace("_", " "), value)
        for key, value in values.items()
        if isinstance(value, str | int | float) and key not in HIDDEN and not re.fullmatch("|[0-9a-f]{64}", str(value))
    ]


def _confidences(summary: RunSummary) -> list[str]:
    checks = summary.decision.checks if summary.decision is not None else ()
    return sorted({percent(check.interval.confidence, 0) for check in checks if check.interval is not None})


def _asset(name: str) -> str:
    return (resources.files("thinksafe.report") / "templates" / name).read_text("utf-8")


def _own(text: str) -> Markup:
    """Mark text of this package as HTML."""
    return Markup(text)  # noqa: S704


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
