from __future__ import annotations

import json
from typing import Any

import pytest
import report_runs as runs
from hypothesis import given, settings
from hypothesis import strategies as st

from thinksafe.config.rounds import without_round
from thinksafe.registry.tracking_names import headline_tags
from thinksafe.report import render_page, without_timing
from thinksafe.report.summary import of_kind, published, reasoning_average, summarise
from thinksafe.report.summary.model import MAKING
from thinksafe.report.tables import steps
from thinksafe.report.words import VERDICTS, estimated, missing_steps, next_steps, why
from thinksafe.run.attempts import Attempt
from thinksafe.run.details import PipelineStatus
from thinksafe.run.record import StageRecord

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def files(records: dict[str, StageRecord], **given: Any) -> dict[str, str]:
    return {name: value.model_dump_json() for name, value in published(summarise(records, **given)).items()}


@pytest.mark.parametrize("outcome", runs.ALL)
def test_outcome(outcome: str) -> None:
    summary = summarise(runs.ALL[outcome]())
    assert summary.outcome == outcome
    assert summary.problems == ()
    assert summary.run_id == runs.RUN_ID


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("verified", "promoted"), ("superseded", "promoted"), ("rolled back", "rolled back"),
        ("withdrawn", "rolled back"),
    ],
)
def test_a_rollout_that_was_taken_back_is_no_success(verdict: str, outcome: str) -> None:
    records = runs.promoted()
    changes = {"task": "deploy", "stage": "deploy", "verdict": verdict, "started": 3e9}
    records["deploy"] = records["promote"].model_copy(update=changes)
    summary = summarise(records)
    assert summary.outcome == outcome
    taken_back = outcome == "rolled back"
    assert VERDICTS[summary.outcome].tone == ("bad" if taken_back else "good")
    assert (f"was {verdict}" in why(summary)) is taken_back
    assert ("record of deploy" in next_steps(summary)) is taken_back


def test_a_rollout_is_missed_only_where_there_is_one() -> None:
    records = runs.incomplete()
    assert "deploy" not in missing_steps(summarise(records))
    records["plan"].details["config"]["deploy"] = {"kind": "deployment"}
    assert {"sample-rollout", "deploy"} <= set(missing_steps(summarise(records)))


def test_a_failed_stage_outweighs_the_decision_and_is_named() -> None:
    records = runs.passed_not_promoted()
    changes = {"task": "promote", "stage": "promote", "status": "failed", "error": "No.", "action": "Do."}
    records["promote"] = records["gate"].model_copy(update=changes)
    summary = summarise(records)
    assert summary.outcome == "failed"
    assert [(f.task, f.error, f.action) for f in summary.failures] == [("promote", "No.", "Do.")]
    assert summary.decision is not None
    assert summary.decision.passed


@pytest.mark.parametrize("outcome", ["incomplete", "passed, not promoted"])
def test_a_task_that_died_without_a_record_fails_the_run(outcome: str) -> None:
    status = PipelineStatus(state="FAILED", message="The failed tasks are: [train].")
    summary = summarise(runs.ALL[outcome](), status=status)
    assert summary.outcome == "failed"
    assert summary.failures[0].error == "The failed tasks are: [train]."
    assert summary.failures[0].action
    assert summarise(runs.ALL[outcome](), status=PipelineStatus(state="CANCELLED")).outcome == outcome


@pytest.mark.parametrize("outcome", sorted(runs.ALL))
def test_what_is_still_running_at_the_exit_task_is_lost(outcome: str) -> None:
    records = runs.ALL[outcome]()
    summary = summarise(records, status=PipelineStatus(state="RUNNING"))
    lost = outcome == "incomplete" or (outcome == "passed, not promoted" and "promote" not in records)
    lost |= outcome == "regressed" and "alarm" not in records
    assert summary.outcome == ("failed" if lost else outcome)
    if lost:
        assert "without a record" in summary.failures[0].error
        assert "Wait" not in next_steps(summary)


def test_a_rollout_that_left_no_record_is_lost() -> None:
    records = runs.promoted()
    assert summarise(records, status=PipelineStatus(state="RUNNING")).outcome == "promoted"
    records["plan"].details["config"]["deploy"] = {"kind": "deployment"}
    assert summarise(records, status=PipelineStatus(state="RUNNING")).outcome == "failed"


def test_a_training_that_changed_nothing_stops_the_run() -> None:
    records = runs.diagnosed()
    records["diagnose"].details["continues"] = True
    check = {"name": "candidate/changed", "passed": False, "value": 0, "threshold": 1, "n": 8, "reason": "No."}
    decision = {"passed": False, "stopped_by": "train", "checks": [check], "summary": "Stopped: no change."}
    train = records["diagnose"].model_copy(
        update={"task": "train", "stage": "train", "details": {"decision": decision}, "verdict": "unchanged"}
    )
    summary = summarise({**records, "train": train})
    assert (summary.outcome, summary.maker) == ("stopped by train", "train")
    assert summary.decision is not None
    assert summary.decision.checks[0].name == "candidate/changed"
    assert "learning_rate" in next_steps(summary)
    assert "decision.json" in published(summary)


def test_recorded_failures_are_not_repeated_by_the_status() -> None:
    summary = summarise(runs.failed(), status=PipelineStatus(state="FAILED", message="tasks failed"))
    assert [failure.task for failure in summary.failures] == ["train"]


def test_a_diagnosis_that_may_only_warn_does_not_stop() -> None:
    records = runs.diagnosed()
    records["diagnose"].details["continues"] = True
    summary = summarise(records)
    assert (summary.outcome, summary.decision) == ("incomplete", None)


def test_no_records_at_all() -> None:
    summary = summarise({}, run_id="r")
    assert (summary.outcome, summary.run_id, summary.provenance.run_id) == ("incomplete", "r", "r")
    assert list(published(summary)) == ["provenance.json"]


def test_the_record_of_an_earlier_report_is_left_out() -> None:
    records = runs.promoted()
    earlier = records["gate"].model_copy(update={"stage": "report", "task": "report", "status": "failed"})
    assert summarise({**records, "report": earlier}) == summarise(records)


def test_a_task_is_a_step() -> None:
    records = runs.failed()
    steps = {step.name: step for step in summarise(records).steps}
    assert steps.keys() == records.keys()
    for task, step in steps.items():
        of = records[task]
        assert (step.stage, step.seconds, step.started, step.counts) == (of.stage, of.seconds, of.started, of.counts)
    assert [name for name, step in steps.items() if step.failed] == ["train"]


def test_attempts_that_failed_are_counted_and_cost_gpu_time() -> None:
    records = runs.promoted()
    train = records["train"]
    failed = (Attempt("SIGKILL", 100.0), Attempt("exit code 1", 10.0), Attempt("exit code 1", 1.0))
    records["train"] = train.model_copy(update={"gpus": 2, "attempts": failed})
    step = summarise(records).step("train")
    assert step is not None
    assert step.retried == {"SIGKILL": 1, "exit code 1": 2}
    assert step.gpu_seconds == pytest.approx(2 * (train.seconds + 111.0))
    assert step.seconds == train.seconds
    (cells,) = [cells for name, cells in steps(summarise(records)) if name == "train"]
    assert cells[0].note == "tried again after SIGKILL (1), exit code 1 (2)"
    assert all(cells[0].note == "" for name, cells in steps(summarise(records)) if name != "train")


def test_steps_stand_in_reading_order_whatever_the_order_of_starting() -> None:
    records = runs.promoted()
    backwards = dict(reversed(records.items()))
    assert summarise(backwards).steps == summarise(records).steps
    assert next(iter(summarise(backwards).provenance.digests)) == "plan"


@pytest.mark.parametrize(
    ("outcome", "names"),
    [
        ("promoted", ["decision.json", "metrics.json", "provenance.json"]),
        ("refused by gate", ["decision.json", "metrics.json", "provenance.json"]),
        ("stopped by diagnose", ["decision.json", "provenance.json"]),
        ("failed", ["provenance.json"]),
        ("incomplete", ["provenance.json"]),
    ],
)
def test_published_files(outcome: str, names: list[str]) -> None:
    assert list(published(summarise(runs.ALL[outcome]()))) == names


def test_decision_and_metrics_are_equal_for_equal_runs() -> None:
    one, two = files(runs.promoted()), files(runs.promoted(run_id="other", at=2e9, pace=3.0, version="8"))
    assert one["decision.json"] == two["decision.json"]
    assert one["metrics.json"] == two["metrics.json"]
    assert one["provenance.json"] != two["provenance.json"]
    for name in ("decision.json", "metrics.json"):
        assert runs.RUN_ID not in one[name]


def test_metrics_file_has_all_roles_and_null_without_champion() -> None:
    records = runs.promoted()
    records["metrics-champion"].details["metrics"].update(absent=True, metrics=[])
    value = json.loads(files(records)["metrics.json"])
    assert set(value) == {"base", "candidate", "champion"}
    assert value["champion"] is None
    assert value["candidate"]["metrics"][0]["n"] > 0


def test_no_credentials_are_published() -> None:
    for outcome in runs.ALL:
        for text in files(runs.ALL[outcome]()).values():
            assert "pass-word" not in text
    records = runs.failed()
    records["train"] = records["train"].model_copy(update={"error": "No answer from http://me:pass-word@host/x."})
    assert "pass-word" not in files(records)["provenance.json"]
    assert "http://***@host/x" in files(records)["provenance.json"]


def test_unreadable_details_are_named_and_the_rest_stays() -> None:
    records = runs.promoted()
    records["metrics-candidate"].details["metrics"]["metrics"][0]["n"] = "many"
    records["curate"].details["funnel"][1] = {"label": "harmful"}
    summary = summarise(records)
    assert set(summary.metrics) == {"base", "champion"}
    assert len(summary.funnel) == 9
    assert [problem.split(" ")[0] for problem in summary.problems] == ["curate:", "metrics-candidate:"]
    assert "many" not in " ".join(summary.problems)


@given(st.sampled_from(sorted(runs.promoted())), st.dictionaries(st.text(), JSON, max_size=3), JSON)
@settings(max_examples=60, deadline=None)
def test_any_details_give_a_summary(task: str, details: dict[str, Any], value: Any) -> None:
    records = dict(RECORDS)
    known = dict.fromkeys(records[task].details, value)
    for found in (details, known):
        records[task] = records[task].model_copy(update={"details": found})
        published(summarise(records))


RECORDS = runs.promoted()


def test_curve_leaves_out_what_is_not_a_number() -> None:
    records = runs.promoted()
    records["train"].details["curve"] = [
        {"step": 1, "loss": None}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 0.5, "grad_norm": 1.0},
    ]
    assert [(point.step, point.loss) for point in summarise(records).curve] == [(3, 0.5)]


def test_reasoning_average_is_the_gates() -> None:
    metrics = summarise(runs.promoted()).metrics["candidate"]
    average = reasoning_average(metrics)
    values = [metric.value for metric in of_kind(metrics, "reasoning")]
    assert average is not None
    assert average.value == pytest.approx(sum(values) / 3)
    assert average.n == 1319 + 500 + 198
    assert average.interval.low < average.value < average.interval.high
    only = metrics.model_copy(update={"metrics": tuple(of_kind(metrics, "reasoning")[:1])})
    single = reasoning_average(only)
    assert single is not None
    assert single.interval == only.metrics[0].interval
    assert reasoning_average(metrics.model_copy(update={"metrics": ()})) is None


def test_setting_reads_the_configuration() -> None:
    summary = summarise(runs.promoted())
    assert summary.setting("gate", "harm", "max") == 0.10
    assert summary.setting("gate", "nothing", default=7) == 7
    assert summarise({}).setting("gate", "harm", "max") is None


def test_an_estimate_is_held_against_what_was_spent() -> None:
    records = runs.promoted()
    assert estimated(summarise(records)) == ""
    spent = sum(record.seconds for record in records.values()) / 3600
    note = {"low": spent / 4, "point": spent / 2, "high": spent * 2, "gpus": False, "runs": ["earlier"]}
    plan = records["plan"]
    records["plan"] = plan.model_copy(update={"details": plan.details | {"estimate": note}})
    summary = summarise(records)
    assert summary.spent == pytest.approx(spent)
    told = estimated(summary)
    assert "hours of this machine" in told
    assert f"by run earlier; spent {spent:.3g}, 2.00 times the estimate" in told
    page, before = (render_page(summarise(of)) for of in (records, runs.promoted()))
    assert "Estimated before" in page
    assert "Estimated before" not in before
    assert without_timing(page) == without_timing(before)
    records["plan"] = plan.model_copy(update={"details": plan.details | {"estimate": {"point": "much"}}})
    broken = summarise(records)
    assert (broken.estimate, broken.problems) == (None, ("plan: estimate cannot be read (gpus, high, low, point)",))


def in_rounds(records: dict[str, StageRecord]) -> dict[str, StageRecord]:
    """Return the records of a run as those of one with two equal rounds."""
    records["plan"].details["config"].setdefault("sampling", {})["rounds"] = 2
    first = {
        f"{task}-round1": record.model_copy(update={"task": f"{task}-round1"})
        for task, record in records.items() if task in MAKING
    }
    return {**records, **first}


def refused_in(stage: str, ending: str) -> dict[str, StageRecord]:
    """Return the records of a run of two rounds that a stage ended in the round whose tasks end so."""
    records = in_rounds(runs.promoted())
    check = {"name": "x", "passed": False, "value": 0, "threshold": 1, "n": 8, "reason": "No."}
    decision = {"passed": False, "stopped_by": stage, "checks": [check], "summary": "Stopped."}
    task = f"{stage}{ending}"
    before = ["plan", "prepare", "due", "sample-pilot", "judge-pilot", "diagnose"]
    before += [f"{name}-round1" for name in MAKING] + [*MAKING]
    kept = {name: records[name] for name in before[: before.index(task)] if name in records}
    refused = records[task].model_copy(
        update={"details": {**records[task].details, "decision": decision}, "verdict": "refused"}
    )
    return {**kept, task: refused}


def test_rounds_are_shown_one_after_the_other() -> None:
    summary = summarise(in_rounds(runs.promoted()))
    assert summary.outcome == "promoted"
    making = [step.name for step in summary.steps if without_round(step.name) in MAKING]
    assert making == [*(f"{task}-round1" for task in MAKING), *MAKING]
    assert len(summary.rounds) == 2
    page = render_page(summary)
    assert "Round 1, sampled from the student" in page
    assert "Round 2, sampled from the candidate of round 1" in page
    alone = summarise(runs.promoted())
    assert alone.rounds == ()
    assert "Round 1" not in render_page(alone)


@pytest.mark.parametrize("ending", ["-round1", ""])
@pytest.mark.parametrize("stage", ["curate", "train"])
def test_the_round_that_refuses_gives_the_decision(stage: str, ending: str) -> None:
    records = refused_in(stage, ending)
    summary = summarise(records)
    assert summary.outcome == f"stopped by {stage}"
    assert summary.decision is not None
    assert summary.decision.stopped_by == stage
    assert headline_tags(records)["thinksafe.stopped_by"] == stage
    first = stage == "curate" and ending == "-round1"
    said = next_steps(summary)
    assert ("No training was started" if first else "No candidate was registered") in said
    assert f"Round {1 if ending else 2} of 2 ended the run." in said


@pytest.mark.parametrize("value", ["x", 10**12, -1, None, [2], 2.5])
def test_a_damaged_number_of_rounds_counts_as_one(value: object) -> None:
    records = runs.incomplete()
    records["plan"].details["config"].setdefault("sampling", {})["rounds"] = value
    assert "train-round1" not in missing_steps(summarise(records))


def test_steps_of_a_first_round_are_missed_where_there_are_two() -> None:
    records = runs.incomplete()
    records["plan"].details["config"].setdefault("sampling", {})["rounds"] = 2
    missing = missing_steps(summarise(records))
    assert missing.index("train-round1") < missing.index("curate")
