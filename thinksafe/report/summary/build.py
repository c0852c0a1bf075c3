"""Build a :class:`RunSummary` from stage records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from thinksafe.config.rounds import tasks_of_rounds
from thinksafe.credentials import scrubbed
from thinksafe.prompts.details import PrepareDetails
from thinksafe.records import Decision, Role
from thinksafe.report.summary.model import (
    Diagnosis,
    Failure,
    Provenance,
    RunOutcome,
    RunSummary,
    Step,
    place,
)
from thinksafe.run.details import (
    CurateDetails,
    DecisionDetails,
    Details,
    DiagnoseDetails,
    DueDetails,
    FunnelRow,
    JudgeDetails,
    MetricsDetails,
    MonitorDetails,
    PipelineStatus,
    PlanDetails,
    PromoteDetails,
    RegisterDetails,
)
from thinksafe.run.record import StageRecord
from thinksafe.training.details import TrainDetails

D = TypeVar("D", bound=Details)
R = TypeVar("R", bound=DecisionDetails)

FAILED_STATES = frozenset({"FAILED", "ERROR"})


def summarise(
    records: Mapping[str, StageRecord], *, run_id: str = "", status: PipelineStatus | None = None,
    problems: Sequence[str] = (),
) -> RunSummary:
    """Return the summary of a run from its stage records by task name.

    Args:
        records: Records of the run; the record of an earlier report is ignored.
        run_id: Id of the run; needed if there are no records.
        status: Final status of the pipeline; it tells a task that died without a record from a run that still goes on.
        problems: What the caller could not read.
    """
    found = {task: record for task, record in records.items() if record.stage != "report"}
    read = _Reader(found, list(problems))
    plan, prepare = read.details("plan", PlanDetails), read.details("prepare", PrepareDetails)
    curated = [read.details(task, CurateDetails) for task in tasks_of_rounds("curate") if task in found]
    curate = _last_or_refused(curated, CurateDetails())
    trained = [read.details(task, TrainDetails) for task in tasks_of_rounds("train") if task in found]
    train, monitor = _last_or_refused(trained, TrainDetails()), read.details("monitor", MonitorDetails)
    decision = monitor.decision if "monitor" in found else read.details("gate", DecisionDetails).decision
    diagnosis = _diagnosis(read)
    status = status or PipelineStatus()
    failures = _failures(found, status)
    outcome = _outcome(found, failures, decision, diagnosis, curate.decision, train.decision)
    # the exit task runs after all others, so nothing is still to come: Kubeflow may say RUNNING of a pod that is lost
    if status.state == "RUNNING" and _awaited(outcome, plan) - found.keys():
        failures = (_lost(status),)
        outcome = "failed"
    if outcome == "stopped by diagnose" and diagnosis is not None:
        decision = diagnosis.decision
    elif outcome == "stopped by curate":
        decision = curate.decision
    elif outcome == "stopped by train":
        decision = train.decision
    steps = tuple(_step(found[task]) for task in sorted(found, key=place))
    registration = _blanked(read.details("register", RegisterDetails).registration)
    promote, due = read.details("promote", PromoteDetails), read.details("due", DueDetails)
    promotion, approval = _blanked(promote.entry), _blanked(promote.approval)
    config = _blanked(plan.config)
    run_id = run_id or next((record.run_id for record in found.values()), "")
    provenance = Provenance(
        run_id=run_id, outcome=outcome, steps=steps, failures=failures, prompt_sets=prepare.sets,
        recipe=str(config.get("name", "")), method=_kind(config.get("method")), config=config,
        config_digest=plan.config_digest, base=_blanked(plan.base or plan.model or {}),
        champion=_blanked(plan.champion), teacher=_blanked(plan.teacher), code=plan.code, guards=_guards(found),
        adapter_digest=train.adapter_digest, weights_digest=train.weights_digest, digests=_digests(found),
        registration=registration, promotion=promotion,
    )
    sets = {role: read.details(f"metrics-{role}", MetricsDetails).metrics for role in get_args(Role)}
    sets["previous"] = monitor.previous_metrics
    return RunSummary(
        run_id=run_id, outcome=outcome, decision=decision, diagnosis=diagnosis, steps=steps,
        failures=failures, metrics={role: of for role, of in sets.items() if of and not of.absent},
        funnel=curate.funnel, rounds=tuple(one.funnel for one in curated) if len(curated) > 1 else (),
        curve=tuple(point for point in train.curve if _finite(point.step, point.loss)),
        training=train.model_dump(exclude={"curve", "drift", "decision"}, exclude_unset=True),
        drift=train.drift, prompt_sets=prepare.sets, contamination=prepare.contamination,
        previous=monitor.previous or {}, taken_back=_blanked(due.taken_back or {}), asked=_blanked(due.asked or {}),
        dropped=prepare.dropped,
        registration=registration, promotion=promotion, approval=approval, problems=tuple(read.problems),
        provenance=provenance, estimate=plan.estimate,
    )


class _Reader:
    """Reads details of records by task; malformed details become problems."""

    def __init__(self, records: Mapping[str, StageRecord], problems: list[str]) -> None:
        self._records = records
        self.problems = problems

    def details(self, task: str, model: type[D]) -> D:
        record = self.record(task)
        return model() if record is None else record.read(model, self.problems)

    def record(self, task: str) -> StageRecord | None:
        return self._records.get(task)


def _last_or_refused(rounds: Sequence[R], default: R) -> R:
    """Return the details of the round that ended the run, or of the last one that there is; else the default."""
    refused = (of for of in rounds if of.decision is not None and not of.decision.passed)
    return next(refused, rounds[-1] if rounds else default)


def _diagnosis(read: _Reader) -> Diagnosis | None:
    record = read.record("diagnose")
    if record is None or record.status == "failed":
        return None
    found = read.details("diagnose", DiagnoseDetails)
    passed = found.decision is not None and found.decision.passed
    return Diagnosis(
        decision=found.decision, continues=passed if found.continues is None else found.continues,
        acceptance_steered=found.acceptance_steered, acceptance_plain=found.acceptance_plain,
        flip_rate=found.flip_rate, odds_ratio=found.odds_ratio, cross_entropy=found.cross_entropy, excess=found.excess,
        tokens=found.tokens, predictions=found.predictions, contexts=found.contexts, context=found.context,
        recommendation=found.recommendation,
        funnel=tuple(
            FunnelRow(label="harmful", arm=arm, reason=reason, count=count)
            for arm, reasons in found.reasons.items() for reason, count in reasons.items()
        ),
    )


def _failures(records: Mapping[str, StageRecord], status: PipelineStatus) -> tuple[Failure, ...]:
    failed = [
        Failure(task=task, stage=record.stage, error=_blanked(record.error), action=_blanked(record.action))
        for task, record in sorted(records.items(), key=lambda item: place(item[0]))
        if record.status == "failed"
    ]
    # the alarm fails on purpose, after writing its record
    if not failed and status.state in FAILED_STATES and "alarm" not in records:
        failed = [_lost(status)]
    return tuple(failed)


def _lost(status: PipelineStatus) -> Failure:
    """Return the failure of a task that left no record."""
    return Failure(
        task="", stage="",
        error=_blanked(status.message)
        or "A task ended without a record: it was killed, ran out of memory or never started.",
        action="Look at the failed task in Kubeflow Pipelines (its events say why a pod ended), fix "
        "the cause and start the same run again; finished work is kept.",
    )


def _awaited(outcome: RunOutcome, plan: PlanDetails) -> set[str]:
    """Return the tasks without which a run that ended has not come to this outcome."""
    rollout = _kind(plan.config.get("deploy")) not in ("", "none")
    ends = {"incomplete": "report", "passed, not promoted": "promote", "regressed": "alarm"}
    ends |= {"promoted": "deploy"} if rollout else {}
    return {ends[outcome]} if outcome in ends else set()


def _outcome(
    records: Mapping[str, StageRecord], failures: tuple[Failure, ...],
    decision: Decision | None, diagnosis: Diagnosis | None, curation: Decision | None,
    training: Decision | None,
) -> RunOutcome:
    if failures:
        return "failed"
    if decision is not None and "monitor" in records:
        return "evaluated" if decision.passed else "regressed"
    if "deploy" in records and records["deploy"].verdict in ("rolled back", "withdrawn"):
        return "rolled back"
    if "promote" in records and records["promote"].verdict == "promoted":
        return "promoted"
    if "promote" in records and records["promote"].verdict == "awaiting approval":
        return "awaiting approval"
    if "promote" in records and records["promote"].verdict == "rejected":
        return "rejected"
    if decision is not None:
        return "passed, not promoted" if decision.passed else "refused by gate"
    if diagnosis is not None and diagnosis.decision is not None and not diagnosis.continues:
        return "stopped by diagnose"
    if curation is not None and not curation.passed:
        return "stopped by curate"
    if training is not None and not training.passed:
        return "stopped by train"
    if any(records[task].verdict == "nothing to do" for task in ("plan", "due") if task in records):
        return "nothing to do"
    return "incomplete"


def _step(record: StageRecord) -> Step:
    return Step(
        name=record.task, stage=record.stage, failed=not record.succeeded, verdict=record.verdict,
        started=record.started, seconds=record.seconds, counts=record.counts,
        gpu_seconds=record.gpus * math.fsum([record.seconds, *(attempt.seconds for attempt in record.attempts)]),
        retried=dict(sorted(Counter(attempt.ended for attempt in record.attempts).items())),
    )


def _finite(*values: float | None) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)


def _kind(method: Any) -> str:
    return str(method.get("kind", "")) if isinstance(method, dict) else ""


def _blanked(value: Any) -> Any:
    """Return JSON values without the user names and passwords in URIs."""
    if isinstance(value, dict):
        return {key: _blanked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blanked(item) for item in value]
    return scrubbed(value) if isinstance(value, str) else value


def _digests(records: Mapping[str, StageRecord]) -> dict[str, dict[str, dict[str, str]]]:
    return {
        task: {"inputs": records[task].inputs, "outputs": records[task].outputs}
        for task in sorted(records, key=place)
        if records[task].inputs or records[task].outputs
    }


def _guards(records: Mapping[str, StageRecord]) -> dict[str, dict[str, Any]]:
    uses = {
        "filter": ("judge-pilot", *tasks_of_rounds("judge-training")),
        "evaluate": ("judge-base", "judge-candidate", "judge-evaluated"),
    }
    found = {}
    for use, steps in uses.items():
        for task in sorted(records, key=place):
            judge = records[task].read(JudgeDetails)
            if task in steps and judge.guard:
                found[use] = {"name": judge.guard, "digest": judge.guard_digest}
                if judge.second_guard:
                    found["second"] = {"name": judge.second_guard, "digest": judge.second_guard_digest}
    return found
