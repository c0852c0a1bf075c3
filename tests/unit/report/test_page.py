from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from typing import Any

import hostile_runs
import pytest
import report_measures as measures
import report_runs as runs

from thinksafe.report import render_page, tables, without_timing
from thinksafe.report.page import TIMING_BEGIN, TIMING_END
from thinksafe.report.summary import RunSummary, published, summarise
from thinksafe.report.words import limits

VOID = {"meta", "link", "br", "wbr", "img", "hr", "input"}


@pytest.fixture(scope="module", params=list(runs.ALL))
def outcome(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def page(outcome: str) -> str:
    return render_page(summarise(runs.ALL[outcome]()))


class Parsed(HTMLParser):
    """Elements, ids and text of a page; complains when tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> Iterator[str]:
        return (value for _, attrs in self.elements if (value := attrs.get(attribute)) is not None)


def test_every_page_is_whole_small_and_alone(page: str) -> None:
    parsed = Parsed(page)
    assert len(page.encode()) < 3_000_000
    ids = list(parsed.values("id"))
    assert len(set(ids)) == len(ids)
    for target in (value[1:] for value in parsed.values("href") if value.startswith("#")):
        assert target in ids
    for name in ("src", "href", "action", "data", "srcset", "poster"):
        assert all(value.startswith(("#", "data:")) for value in parsed.values(name))
    assert "@import" not in page
    assert "#0a0b" not in page  # a stand-in colour of a picture


def test_headings_descend_one_level_at_a_time(page: str) -> None:
    levels = [int(tag[1]) for tag, _ in Parsed(page).elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_picture_and_table_is_described(page: str) -> None:
    elements = Parsed(page).elements
    assert all(attrs.get("aria-label") for tag, attrs in elements if tag == "svg")
    tables = sum(tag == "table" for tag, _ in elements)
    assert sum(tag == "caption" for tag, _ in elements) == tables > 0


def test_sections_in_order(outcome: str, page: str) -> None:
    sections = [attrs["id"] for tag, attrs in Parsed(page).elements if tag == "section"]
    measured, end = ["plane", "metrics", "over-refusal", "parts"], ["timing", "provenance", "limits"]
    if outcome in ("failed", "incomplete", "stopped by diagnose"):
        expected = ["decision", "acceptance", "contamination", *end]
    elif outcome in ("evaluated", "regressed"):
        expected = ["decision", *measured, *end]
    else:
        expected = ["decision", *measured, "acceptance", "training", "drift", "contamination", *end]
    assert sections == expected


@pytest.mark.parametrize("outcome", ["promoted", "stopped by diagnose", "failed"], indirect=True)
def test_equal_runs_have_equal_pages_but_for_the_timing_block(outcome: str, page: str) -> None:
    other = render_page(summarise(runs.ALL[outcome](run_id="another-run", at=1.9e9, pace=2.0, version="8")))
    assert other != page
    assert without_timing(other) == without_timing(page)
    assert page.count(TIMING_BEGIN) == page.count(TIMING_END) == 1
    assert runs.RUN_ID in page
    assert runs.RUN_ID not in without_timing(page)


@pytest.mark.parametrize("outcome", ["failed"], indirect=True)
def test_the_same_run_gives_the_same_bytes(outcome: str, page: str) -> None:
    assert render_page(summarise(runs.ALL[outcome]())) == page


def test_the_outcome_and_its_reason_are_read_first(outcome: str, page: str) -> None:
    text = Parsed(page).text
    assert "pass-word" not in page
    begin = text.index(f"ThinkSafe {'evaluation' if outcome in ('evaluated', 'regressed') else 'realignment'} report")
    opening = text[begin : begin + 400]
    expected = {
        "promoted": ("Promoted", "Passed: all 31 checks hold."),
        "awaiting approval": (
            "Awaiting approval", "The gate passed the candidate, which awaits approval: 1 of 2 approvals, by ann."
        ),
        "rejected": (
            "Rejected by an approver", "The gate passed the candidate, which was rejected by bob: not yet."
        ),
        "passed, not promoted": ("Passed, not promoted", "Passed: all 31 checks hold."),
        "refused by gate": ("Refused by the gate", "6 of 31 checks failed (2 because there are too few prompts)"),
        "stopped by diagnose": ("Stopped by the diagnosis", "No latent safety knowledge: 2 of 2 checks failed."),
        "failed": ("Failed", "The run failed in train; there is no decision."),
        "evaluated": ("No alarm", "No alarm: all 19 checks hold (compared with the last evaluation)."),
        "regressed": ("Alarm", "Alarm: 6 of 19 checks failed (compared with the last evaluation): harm/harmbench"),
        "incomplete": ("Incomplete", "The run has reached judge-training; there is no decision yet."),
    }[outcome]
    for words in expected:
        assert words in opening


def cells(page: str, table: str) -> list[dict[str, str]]:
    """Return the exact values by column of a table's rows, with the row's header as ``''``."""
    rows: list[dict[str, str]] = []

    class Rows(HTMLParser):
        inside = header = False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found = dict(attrs)
            if found.get("id") == table:
                self.inside = True
            if self.inside and tag == "tr":
                rows.append({})
            self.header = tag == "th" or (self.header and tag == "wbr")
            if self.inside and tag == "td":
                rows[-1][str(found.get("data-label"))] = str(found.get("data-value"))

        def handle_data(self, data: str) -> None:
            if self.inside and self.header:
                rows[-1][""] = rows[-1].get("", "") + data.strip()

        def handle_endtag(self, tag: str) -> None:
            if tag == "table":
                self.inside = False

    Rows().feed(page)
    return [row for row in rows if len(row) > 1]


def summary_of(outcome: str) -> RunSummary:
    return summarise(runs.ALL[outcome]())


@pytest.mark.parametrize("outcome", ["promoted"], indirect=True)
def test_numbers_on_the_page_are_those_of_metrics_json(page: str) -> None:
    metrics: Any = published(summary_of("promoted"))["metrics.json"]
    shown = cells(page, "metrics-caption")
    assert len(shown) == len(metrics.candidate.metrics)
    for row, base, candidate, champion in zip(
        shown, metrics.base.metrics, metrics.candidate.metrics, metrics.champion.metrics, strict=True
    ):
        assert row[""] == candidate.benchmark
        assert float(row["Base"]) == base.value
        assert float(row["Candidate"]) == candidate.value
        assert float(row["Champion"]) == champion.value
        assert (int(row["n"]), int(row["Unknown"]), int(row["Truncated"])) == (
            candidate.n, candidate.unknown, candidate.truncated,
        )


@pytest.mark.parametrize("outcome", ["promoted", "refused by gate", "stopped by diagnose"], indirect=True)
def test_every_check_is_on_the_page_failed_ones_first(outcome: str, page: str) -> None:
    decision = summary_of(outcome).decision
    assert decision is not None
    shown = cells(page, "checks-caption")
    results = [int(row["Result"]) for row in shown]
    assert results == sorted(results)
    by_name = {row[""]: row for row in shown}
    text = Parsed(page).text
    for check in decision.checks:
        row = by_name[check.name]
        assert int(row["Result"]) == {"failed": 0, "waived": 1, "passed": 2}[check.status]
        assert float(row["Value"]) == check.value
        assert float(row["Threshold"]) == check.threshold
        assert int(row["n"]) == check.n
        assert check.reason in text
    groups = {row.group for row in tables.checks(decision, summary_of(outcome).maker)}
    measured = {"Limits", "Against base", "Evidence", "Against the champion"}
    assert groups == ({"Pilot"} if outcome == "stopped by diagnose" else measured)
    table = text.partition("Checks of the ")[2].partition("Harm and reasoning")[0]
    words = table.count("✓ pass"), table.count("✕ fail")
    assert words == (sum(check.passed for check in decision.checks), sum(not check.passed for check in decision.checks))


@pytest.mark.parametrize("outcome", ["refused by gate"], indirect=True)
def test_units_of_checks(page: str) -> None:
    text = Parsed(page).text
    assert "Check Group Result Value Threshold n Reason harm/ harmbench Limits ✕ fail 9.0 %" in text
    assert "harm/ harmbench Limits ✕ fail 9.0 % [6.8, 11.7] 10.0 % 400" in text
    assert "champion/ harm/ harmbench Against the champion ✕ fail 3.2 points [2.1, 5.1] 2.0 points 400" in text
    assert "min_prompts/ gsm8k Evidence ✓ pass 1,319 30 1,319" in text


@pytest.mark.parametrize("outcome", ["failed"], indirect=True)
def test_a_failed_run_says_where_why_and_what_to_do(page: str) -> None:
    text = Parsed(page).text
    assert "has no end-of-sequence token" in text
    assert "What to do: Use a chat template from the vetted list" in text
    assert "Not reached: register" in text


def test_a_run_without_any_record_has_a_page() -> None:
    text = Parsed(render_page(summarise({}, run_id="r-1"))).text
    assert "No stage has left a record." in text
    assert "r-1" in text
    assert "The plan left no record" in text


def test_unreadable_records_are_named() -> None:
    page = render_page(summarise(runs.failed(), problems=["runs/r/gate.json is not a stage record"]))
    assert "runs/r/gate.json is not a stage record" in page


def test_limits_name_conversations_and_tools_that_were_only_text() -> None:
    records = runs.promoted()
    records["plan"].details["config"]["evaluation"]["benchmarks"] += [
        {"name": name, "use": name, "metric": "harm"} for name in ("agentharm", "mhj", "of-another-version")
    ]
    text = " ".join(limits(summarise(records)))
    assert "Variations: agentharm, mhj, all written in advance." in text
    assert "tools that run, files, images and attacks that adapt" in text


def test_limits_depend_on_the_run() -> None:
    micro, real = (" ".join(limits(summary_of(name))) for name in ("stopped by diagnose", "promoted"))
    assert "micro model in a made-up world" in micro
    assert "micro model" not in real
    for text in (micro, real):
        assert "tools, files, images, agent trajectories and attacks that adapt" in text
        assert "The same guard" in text
    records = runs.promoted()
    records["plan"].details["config"]["guard"]["evaluate"]["kind"] = "another"
    assert "The same guard" not in " ".join(limits(summarise(records)))


@pytest.mark.parametrize("text", hostile_runs.HOSTILE.values(), ids=hostile_runs.HOSTILE.keys())
@pytest.mark.slow
def test_hostile_text_is_only_text(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where a text breaks a picture
        page = render_page(summarise(hostile_runs.hostile(text)))
    parsed = Parsed(page)
    assert len(page) < 1_000_000
    tags = [tag for tag, _ in parsed.elements]
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    assert "img" not in tags
    assert not any(name.startswith("on") for _, attrs in parsed.elements for name in attrs)
    assert page.count(TIMING_BEGIN) == page.count(TIMING_END) == 1
    assert not {character for character in page if character < " " and character not in "\n\t"}


def test_models_without_champion_and_with_one_benchmark_each() -> None:
    records = runs.promoted()
    for role in measures.ROLES:
        metrics = records[f"metrics-{role}"].details["metrics"]
        keep = ("harm/harmbench", "over_refusal/xstest", "reasoning/gsm8k")
        metrics["metrics"] = [metric for metric in metrics["metrics"] if metric["name"] in keep]
    records["metrics-champion"].details["metrics"].update(absent=True, metrics=[])
    records["plan"].details["champion"]["absent"] = True
    text = Parsed(render_page(summarise(records))).text
    assert "There was no champion to compare with." in text
    assert "harmbench, n 400" in text


def test_extreme_rates_are_drawn() -> None:
    records = runs.promoted()
    for role, value in (("base", 1.0), ("candidate", 0.0)):
        for metric in records[f"metrics-{role}"].details["metrics"]["metrics"]:
            metric.update(value=value)
            metric["interval"].update(low=min(value, 0.99), high=max(value, 0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "100.0" in render_page(summarise(records))


def colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", style))


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    shares = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_contrast_of_text_and_pictures(scheme: str) -> None:
    style = (resources.files("thinksafe.report") / "templates" / "report.css").read_text("utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    dark, rest = dark.split("* { box-sizing")
    found = colours(light) | {"dark": colours(dark), "print": colours(rest.split("@media print")[1])}.get(scheme, {})
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for text in ("--ink", "--muted", "--link", "--good", "--bad", "--even"):
        for ground in ("--page", "--soft", "--bad-soft", "--even-soft"):
            assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
    for name in ("base", "candidate", "champion", "accepted", "r1", "r2", "r3", "r4"):
        assert contrast(found[f"--chart-{name}"], found["--page"]) >= 3, name
    for name in ("candidate", "champion"):  # they may lie on the gate's region
        assert contrast(found[f"--chart-{name}"], found["--chart-region"]) >= 3, name
