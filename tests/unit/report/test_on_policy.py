"""What the report shows of training that samples."""

from __future__ import annotations

from typing import Any

import report_runs as runs

from thinksafe.report import on_policy, render_page
from thinksafe.report.summary import RunSummary, summarise


def sampled(**changed: Any) -> RunSummary:
    """Return a promoted run whose training sampled; ``changed`` replaces points of the last step."""
    records = runs.promoted()
    records["train"].details["curve"] = [
        {
            "step": step, "loss": 0.001, "learning_rate": 1e-5, "reward": 1.5 + step / 10, "equal_groups": 0.75,
            "kl": step / 1000, "mean_length": 30.0, "truncated": 0.0,
        } | (changed if step == 5 else {})
        for step in range(1, 6)
    ]
    return summarise(records)


def test_the_table_has_the_beginning_and_the_end_of_every_point() -> None:
    rows = {row.names[0]: [cell.value for cell in row.cells] for row in on_policy.table(sampled()).rows}
    assert rows["Mean reward"] == ["1.6", "2.0", "5.0"]
    assert rows["Groups with equal rewards"] == ["0.75", "0.75", "5.0"]
    assert list(rows) == [
        "Mean reward", "Groups with equal rewards", "Responses that were cut", "KL from the student", "Mean length",
    ]


def test_a_point_that_is_no_number_is_left_out() -> None:
    found = on_policy.table(sampled(reward="<b>", kl=float("inf")))
    rows = {row.names[0]: [cell.value for cell in row.cells] for row in found.rows}
    assert rows["Mean reward"] == ["1.6", "1.9", "4.0"]
    assert rows["KL from the student"][1:] == ["0.004", "4.0"]


def test_the_page_has_picture_and_table_only_where_training_sampled() -> None:
    page = render_page(sampled())
    assert 'id="on-policy-caption"' in page
    assert "groups with equal rewards" in page.lower()
    assert "what the student itself wrote, before training" in page
    other = render_page(summarise(runs.promoted()))
    assert 'id="on-policy-caption"' not in other
    assert "a seeded sample of training rows" in other
