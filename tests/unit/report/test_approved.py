"""What the pages of a run say of approvals."""

from __future__ import annotations

import report_runs as runs

from thinksafe.report.approved import approvals_of
from thinksafe.report.card import model_card
from thinksafe.report.page import render_page, without_timing
from thinksafe.report.summary import summarise
from thinksafe.report.words import next_steps, why

HOSTILE = "<script>alert(1)</script> | `x` [y](z)\u202e"


def test_a_run_that_waits_says_what_is_missing_and_how_to_approve() -> None:
    summary = summarise(runs.awaiting())
    assert why(summary) == "The gate passed the candidate, which awaits approval: 1 of 2 approvals, by ann."
    assert "thinksafe approve" in next_steps(summary)
    page = render_page(summary)
    command = f"thinksafe approve qwen3-safe --version {summary.registration['version']} --decision {'d' * 12}"
    before, found, _ = page.partition(command)
    assert found
    assert '<section id="timing"' not in before, "it stands at the top"
    assert "with <code>thinksafe approve</code> or <code>thinksafe reject</code>" in page
    assert command not in without_timing(page), "equal runs have other versions"
    assert "<strong>ann</strong>" in page
    assert "unverified" in page


def test_a_rejection_is_shown_with_its_reason_and_without_markup() -> None:
    summary = summarise(runs.awaiting("rejected", HOSTILE))
    page = render_page(summary)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "rejection is final" in next_steps(summary)
    card = model_card(summary)
    assert "<script>" not in card
    assert "\u202e" not in card + page


def test_the_card_names_who_approved_what_was_promoted() -> None:
    records = runs.promoted()
    promote = records["promote"]
    use = {"person": "ann", "confirmed_by": "https://api", "reason": "read it", "created": "2026-01-02T03:04:05+00:00"}
    entry = {**promote.details["entry"], "approvals": [use, {"person": 7}, "x"]}
    records["promote"] = promote.model_copy(update={"details": {"entry": entry}})
    summary = summarise(records)
    assert [one.person for one in approvals_of(summary)] == ["ann"]
    assert "| Approved | by ann, 2026-01-02T03:04:05+00:00: read it |" in model_card(summary)
    assert approvals_of(summarise(runs.promoted())) == []
