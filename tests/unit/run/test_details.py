"""Details of stage records: typed when read, part by part."""

from __future__ import annotations

from typing import Any

import pytest
import report_runs as runs
from comparison_runs import comparison
from pydantic import ValidationError

from thinksafe.prompts.details import PrepareDetails
from thinksafe.run.details import (
    AlarmDetails,
    CurateDetails,
    DecisionDetails,
    DeployDetails,
    Details,
    DiagnoseDetails,
    DueDetails,
    JudgeDetails,
    MetricsDetails,
    MonitorDetails,
    PlanDetails,
    PromoteDetails,
    RegisterDetails,
    ReportDetails,
)
from thinksafe.run.record import StageRecord
from thinksafe.training.details import TrainDetails

MODELS: dict[str, type[Details]] = {
    "plan": PlanDetails, "plan_evaluation": PlanDetails, "plan_comparison": PlanDetails, "prepare": PrepareDetails,
    "due": DueDetails,
    "judge": JudgeDetails, "diagnose": DiagnoseDetails, "curate": CurateDetails, "train": TrainDetails,
    "register": RegisterDetails, "metrics": MetricsDetails, "gate": DecisionDetails, "promote": PromoteDetails,
    "deploy": DeployDetails, "monitor": MonitorDetails, "alarm": AlarmDetails, "report": ReportDetails,
}


def record(stage: str = "curate", **details: Any) -> StageRecord:
    return StageRecord(
        run_id="r", stage=stage, task=stage, status="succeeded", started=1.0, seconds=1.0, details=details
    )


def test_what_stages_record_is_read_whole() -> None:
    for found in (runs.promoted(), runs.evaluation(), comparison().records):
        for of in found.values():
            if of.details:
                problems: list[str] = []
                read = of.read(MODELS[of.stage], problems)
                assert not problems
                assert set(of.details) <= set(type(read).model_fields), of.task


def test_a_part_that_cannot_be_read_has_its_default_and_is_named() -> None:
    row = {"label": "harmful", "arm": "steered", "reason": "accepted", "count": 3}
    problems: list[str] = []
    read = record(funnel=[row, {"label": "SECRET"}], decision={"passed": "SECRET"}).read(CurateDetails, problems)
    assert [each.count for each in read.funnel] == [3]
    assert read.decision is None
    assert [problem.split(" (")[0] for problem in problems] == [
        "curate: decision cannot be read", "curate: funnel[1] cannot be read",
    ]
    assert "SECRET" not in " ".join(problems)
    assert record(funnel="none").read(CurateDetails).funnel == ()


def test_further_and_missing_parts_are_no_problem() -> None:
    problems: list[str] = []
    assert record(new=[1]).read(CurateDetails, problems) == CurateDetails()
    assert not problems


def test_a_model_that_is_made_takes_no_wrong_part() -> None:
    with pytest.raises(ValidationError):
        CurateDetails(funnel="none")  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [{}, {"gate": None}, {"gate": {"harm": []}}, {"gate": {"harm": {"part": "all"}}}])
def test_the_part_that_the_gate_reads(config: dict[str, Any]) -> None:
    assert PlanDetails(config=config).part == "whole"
    assert PlanDetails(config={"gate": {"harm": {"part": "thought"}}}).part == "thought"
