"""plan_promotion: the files of a promotion are what the run has recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from approved_runs import ApprovedRun, demand
from registry_runs import PASSED, World

from thinksafe.config.plan_document import read_plan
from thinksafe.config.sections import PromoteSection
from thinksafe.errors import DamagedError, InputError
from thinksafe.jsonl import read_record
from thinksafe.models.references import read_reference
from thinksafe.records import Decision
from thinksafe.run.details import PromoteDetails
from thinksafe.run.record import StageContext, StageRecord, silent, write_stage_record
from thinksafe.stages import plan_promotion, promote
from thinksafe.training.details import TrainDetails

FILES = ("plan", "decision", "registration", "candidate", "champion")


@pytest.fixture
def waiting(world: World) -> ApprovedRun:
    """A run that awaits approval, with the record of its training."""
    run = ApprovedRun(world, "a", demand())
    details = TrainDetails(adapter=run.run.candidate.adapter, adapter_digest=run.run.candidate.adapter_digest)
    write_stage_record(world.store, StageRecord(
        run_id="a", stage="train", task="train", status="succeeded", started=1.0, seconds=1.0,
        details=details.model_dump(mode="json", include=details.model_fields_set),
    ))
    run.promote()
    return run


def planned(run: ApprovedRun, tmp_path: Path, run_id: str = "a") -> dict[str, Path]:
    files = {name: tmp_path / f"{name}.json" for name in FILES}
    context = StageContext(run.world.store, run_id, "plan_promotion", "plan-promotion", silent)
    plan_promotion.run(context, **{f"{name}_out": path for name, path in files.items()})
    return files


def test_promote_goes_on_with_them_in_a_run_of_its_own(waiting: ApprovedRun, tmp_path: Path) -> None:
    waiting.say("approve", "ann")
    files = planned(waiting, tmp_path)
    assert read_record(files["decision"], Decision) == PASSED
    assert read_reference(files["candidate"]) == waiting.run.candidate
    document = read_plan(files["plan"])
    section = document.section("promote", PromoteSection, files["plan"])
    assert (document.run_id, section) == ("a", waiting.section)
    inputs: dict[str, Any] = {name: path for name, path in files.items() if name != "plan"}
    context = StageContext(waiting.world.store, document.run_id, "promote", "promote", silent)
    result = promote.run(
        context, section, **inputs, promotion_out=tmp_path / "entry.json", passed_out=tmp_path / "flag"
    )
    assert isinstance(result.details, PromoteDetails)
    assert result.verdict == "promoted"
    assert waiting.world.history == [("promote", "a", "1")]


def test_a_run_that_is_not_there_or_has_not_decided(waiting: ApprovedRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record of plan"):
        planned(waiting, tmp_path, "other")
    waiting.world.store.delete("runs/a/gate.json")
    with pytest.raises(InputError, match="no record of gate"):
        planned(waiting, tmp_path)


def test_records_that_do_not_belong_together(waiting: ApprovedRun, tmp_path: Path) -> None:
    record = TrainDetails(adapter="adapters/other", adapter_digest="other")
    write_stage_record(waiting.world.store, StageRecord(
        run_id="a", stage="train", task="train", status="succeeded", started=1.0, seconds=1.0,
        details=record.model_dump(mode="json", include=record.model_fields_set),
    ))
    with pytest.raises(DamagedError, match="do not belong together"):
        planned(waiting, tmp_path)
