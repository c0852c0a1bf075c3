"""The pilot's numbers on the page, at the terminal and in MLflow."""

from __future__ import annotations

import io
from typing import Any

import pytest
import report_runs as runs
from rich.console import Console

from thinksafe.deciding.recommendation import recommend
from thinksafe.measuring.pilot import odds_ratio, predictions
from thinksafe.registry.tracking_names import pilot_values
from thinksafe.report import pilot, render_page
from thinksafe.report.page import without_timing
from thinksafe.report.summary import RunSummary, summarise
from thinksafe.report.terminal import run_table
from thinksafe.run.details import ContextRates, DiagnoseDetails, Quantity, Rate
from thinksafe.run.record import StageRecord

PLAIN, STEERED = [0.0] * 60 + [1.0] * 4, [1.0] * 57 + [0.0] * 4 + [1.0] * 3


@pytest.fixture
def records() -> dict[str, StageRecord]:
    """A promoted run whose pilot has all numbers."""
    found = runs.promoted()
    details = found["diagnose"].read(DiagnoseDetails).model_copy(
        update={
            "odds_ratio": odds_ratio(PLAIN, STEERED, 0.9),
            "excess": Quantity(value=0.05, low=0.01, high=0.09, n=12, method="paired"),
            "cross_entropy": {"plain": Quantity(value=0.4, n=13), "steered": Quantity(value=0.45, n=57)},
            "tokens": {"plain": 100.0, "steered": 50.0}, "predictions": predictions(PLAIN, PLAIN, STEERED),
        }
    )
    details = details.model_copy(update={"recommendation": recommend(details, "steerable")})
    found["diagnose"] = found["diagnose"].model_copy(update={"details": details.model_dump(mode="json")})
    return found


@pytest.fixture
def summary(records: dict[str, StageRecord]) -> RunSummary:
    return summarise(records)


def test_the_page_shows_the_recommendation_with_its_evidence(summary: RunSummary) -> None:
    page = render_page(summary)
    assert "Recommended: thinksafe" in page
    assert "excess 0.05 [0.01, 0.09] nats a token" in page
    assert "Excess of the steered ones, nats a token" in page
    assert "rejection, keep: all-safe" in page
    assert "Predicted cost of sampling" in page
    assert "Predicted cost of sampling" not in without_timing(page), "hours differ between equal runs"


def test_costs_are_tokens_of_the_training_prompts_at_the_pilots_rate(summary: RunSummary) -> None:
    table = pilot.costs(summary)
    rows = {row.names[0]: row.cells for row in table.rows}
    sizes = {
        label: sum(of.rows for of in summary.prompt_sets if (of.use, of.label) == ("training", label))
        for label in ("harmful", "benign")
    }
    assert float(rows["thinksafe"][0].value) == sizes["harmful"] * 50 + sizes["benign"] * 100
    assert float(rows["grpo, an epoch"][0].value) == 8 * (sizes["harmful"] + sizes["benign"]) * 100
    step: Any = summary.step("sample-pilot")
    assert table.columns[1] == ("GPU-hours" if step.gpu_seconds else "Hours of this machine")


def test_the_terminal_has_a_line(summary: RunSummary) -> None:
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(run_table(summary))
    assert "The pilot recommends thinksafe. The student can be steered cheaply" in console.export_text()


def test_mlflow_gets_the_numbers(records: dict[str, StageRecord]) -> None:
    values = dict(pilot_values(records["diagnose"]))
    assert values["pilot/excess.high"] == 0.09
    assert values["pilot/cross_entropy/steered"] == 0.45
    assert values["pilot/odds_ratio"] == 57.0
    assert values["pilot/samples/thinksafe"] == 64 / 60


def test_searched_contexts_are_ranked_on_the_page_and_in_mlflow(records: dict[str, StageRecord]) -> None:
    def rate(value: float | None, n: int) -> Rate:
        return Rate(value=value, n=n)

    contexts = (
        ContextRates(name="calm", flip_rate=rate(0.82, 50), refused=rate(0.0, 64)),
        ContextRates(name="kind", flip_rate=rate(0.49, 50), refused=rate(0.05, 64)),
        ContextRates(name="loud", flip_rate=rate(None, 0), refused=rate(0.5, 64), excluded="it refuses <b>"),
    )
    details = records["diagnose"].read(DiagnoseDetails).model_copy(update={"contexts": contexts, "context": "calm"})
    record = records["diagnose"].model_copy(update={"details": details.model_dump(mode="json")})
    summary = summarise({**records, "diagnose": record})
    rows = [(row.names[0], row.cells[-1].text) for row in pilot.contexts(summary).rows]
    assert rows == [("calm", "used"), ("kind", "usable"), ("loud", "excluded: it refuses <b>")]
    page = render_page(summary)
    assert "Training uses calm." in page
    assert "excluded: it refuses &lt;b&gt;" in page
    values = dict(pilot_values(record))
    assert (values["pilot/context/calm/flip_rate"], values["pilot/context/kind/refused"]) == (0.82, 0.05)
    assert "pilot/context/loud/flip_rate" not in values

    none = details.model_copy(update={"context": ""})
    record = record.model_copy(update={"details": none.model_dump(mode="json")})
    assert "None can be used." in render_page(summarise({**records, "diagnose": record}))


def test_older_records_have_no_such_tables() -> None:
    summary = summarise(runs.promoted())
    assert not any(of(summary).rows for of in (pilot.contexts, pilot.numbers, pilot.predicted, pilot.costs))
    assert "What follows" not in render_page(summary)
    assert not [name for name, _ in pilot_values(runs.promoted()["diagnose"]) if "odds" in name]
