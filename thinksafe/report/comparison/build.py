"""From the stage records of a comparison to its results.

A method's records, with those of the work that it shares, read as the records of a realignment: so each method gets the
summary that its own run would have. This builds on those.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from thinksafe.config.compared import Shared, method_of, scoped
from thinksafe.config.rounds import round_suffix, without_round
from thinksafe.measuring.comparison import LOWER_IS_BETTER, differences, dominators
from thinksafe.measuring.evidence import Evidence, NoEvidence, metric_name
from thinksafe.measuring.statistics import stratified_average
from thinksafe.records import MetricKind, MetricSet, Outcome
from thinksafe.registry.tracking_comparison import ComparedRun, ComparedRuns
from thinksafe.report.comparison.model import (
    Basis,
    ComparisonOutcome,
    ComparisonResult,
    ComparisonSummary,
    Costs,
    MethodCost,
    MethodResult,
    Number,
    Work,
)
from thinksafe.report.summary import RunSummary, summarise
from thinksafe.report.summary.build import FAILED_STATES
from thinksafe.report.summary.model import MAKING, Failure, Step
from thinksafe.report.words import why
from thinksafe.run.details import MetricsDetails, PipelineStatus, PlanDetails
from thinksafe.run.record import START, StageRecord

PLAN = "plan_comparison"
BASE = "base"
"""Name of the student as it is among the models that are compared."""
PASSED = "passed"

Read = Callable[[str], Iterable[Outcome]]
"""Returns the outcomes of a digest, which a record of metrics names."""


def is_comparison(records: Mapping[str, StageRecord]) -> bool:
    """Return whether the records are those of a comparison."""
    return "plan" in records and records["plan"].stage == PLAN


def view(records: Mapping[str, StageRecord], shared: Shared) -> dict[str, StageRecord]:
    """Return the records of one method as those of a realignment, by task name without a method."""
    plan = records["plan"]
    config = plan.read(PlanDetails).methods.get(shared.method, {})
    # a pod that did not start is of the comparison: it ended the run, not the methods that had come to their end
    found = {task: record for task, record in records.items() if not method_of(task) and task != START}
    found["plan"] = plan.model_copy(update={"details": {**plan.details, "config": config}})
    owners = {"sample-pilot": shared.pilot, "judge-pilot": shared.pilot, "diagnose": shared.diagnosis}
    first = round_suffix(1, shared.rounds)
    owners |= {f"sample-training{first}": shared.samples, f"judge-training{first}": shared.samples}
    for task, record in records.items():
        name = task.partition(".")[0]
        if method_of(task) == owners.get(name, shared.method):
            found[name] = record.model_copy(update={"task": name})
    return found


def credited(records: Mapping[str, StageRecord]) -> dict[str, StageRecord]:
    """Return the records, those that found their output with the work of the task of this comparison that made it.

    Methods may come to the same samples or the same adapter under different names, as a first round does that is also
    somebody's only one. Which of them finds the other's work is chance, and what a method takes should not depend on
    it.
    """
    makers = {
        (record.stage, *sorted(record.outputs.items())): record
        for record in records.values() if record.succeeded and record.outputs and not _reused(record.counts)
    }
    found = dict(records)
    for task, record in records.items():
        maker = makers.get((record.stage, *sorted(record.outputs.items()))) if _reused(record.counts) else None
        if maker is not None:
            work = {name: getattr(maker, name) for name in ("seconds", "gpus", "attempts", "counts")}
            found[task] = record.model_copy(update=work)
    return found


def _reused(counts: Mapping[str, int | float]) -> bool:
    """Return whether a part of the work was found in the store."""
    return any(counts.get(key) for key in ("chunks_reused", "reused", "resumed"))


def summarise_comparison(
    records: Mapping[str, StageRecord], read: Read, *, run_id: str = "", status: PipelineStatus | None = None,
    problems: Sequence[str] = (),
) -> ComparisonSummary:
    """Return the summary of a comparison from its stage records by task name.

    Args:
        records: Records of the run.
        read: Reads the outcomes of a metric set.
        run_id: Id of the run.
        status: Final status of the pipeline; it tells a task that died without a record from a run that still goes on.
        problems: What the caller could not read.
    """
    found = credited({task: record for task, record in records.items() if record.stage != "report"})
    unread = list(problems)
    plan = found["plan"].read(PlanDetails, unread)
    died = status is not None and status.state in FAILED_STATES
    runs = {one.method: summarise(view(found, one), run_id=run_id) for one in plan.shared}
    evidence = _evidence(found, runs, read)
    names = _names(next(iter(runs.values()))) if runs else {}
    compared = None
    if len(evidence) > 1:
        compared = differences(evidence, names, next(iter(runs.values())).setting("gate", "alpha", default=0.05))
    above = dominators(list(runs), compared.found if compared else ())
    overrides = {one["name"]: one.get("overrides", {}) for one in plan.config.get("compare", ())}
    methods = tuple(
        _result(name, run, overrides.get(name, {}), evidence.get(name), names, above[name], died=died)
        for name, run in runs.items()
    )
    result = ComparisonResult(
        outcome=_outcome(found, methods, died=died), base=_numbers(evidence.get(BASE), names), methods=methods,
        differences=compared,
    )
    tasks = [_step(records[task]) for task in found]
    return ComparisonSummary(
        run_id=run_id, result=result, costs=_costs(run_id, plan, runs, result), problems=tuple(unread),
        failures=_failures(found), config=plan.config, config_digest=plan.config_digest, base=plan.base,
        code=plan.code, seconds=math.fsum(seconds for seconds, _ in tasks),
        gpu_seconds=math.fsum(gpus for _, gpus in tasks),
        started=min((record.started for record in found.values()), default=None),
    )


def _step(record: StageRecord) -> tuple[float, float]:
    return record.seconds, record.gpus * math.fsum([record.seconds, *(one.seconds for one in record.attempts)])


def _evidence(
    records: Mapping[str, StageRecord], runs: Mapping[str, RunSummary], read: Read
) -> dict[str, Evidence]:
    """Return the evidence of the base and of every method with a candidate that was measured."""
    tasks = {BASE: "metrics-base", **{name: scoped("metrics-candidate", name) for name in runs}}
    found = {}
    for name, task in tasks.items():
        record = records.get(task)
        metrics: MetricSet | None = record.read(MetricsDetails).metrics if record is not None else None
        if record is not None and record.succeeded and metrics is not None:
            found[name] = Evidence(metrics, read(record.outputs.get("outcomes", "")))
    return found


def _names(run: RunSummary) -> dict[MetricKind, list[str]]:
    """Return the metrics that each measure averages: those of the benchmarks that the gate checks."""
    part = run.setting("gate", "harm", "part", default="whole")
    gated = [one for one in run.setting("evaluation", "benchmarks", default=[]) if one.get("gated", True)]
    return {
        kind: [
            metric_name(kind, one["name"], part if kind == "harm" else "whole")
            for one in gated if one["metric"] == kind
        ]
        for kind in LOWER_IS_BETTER
    }


def _numbers(of: Evidence | None, names: Mapping[MetricKind, Sequence[str]]) -> dict[MetricKind, Number]:
    found: dict[MetricKind, Number] = {}
    for kind, metrics in names.items() if of is not None else ():
        try:
            confidence = of.metric(metrics[0]).interval.confidence if of is not None and metrics else 0.9
            strata = [of.rate(name, confidence)(1.0) for name in metrics] if of is not None else []
        except NoEvidence:
            continue
        if strata:
            found[kind] = Number.of(stratified_average(strata))
    return found


def _result(
    name: str, run: RunSummary, overrides: dict[str, object], evidence: Evidence | None,
    names: Mapping[MetricKind, Sequence[str]], above: tuple[str, ...], *, died: bool,
) -> MethodResult:
    passed = run.decision is not None and run.decision.passed and run.outcome == "passed, not promoted"
    outcome: str = PASSED if passed else run.outcome
    reason = why(run)
    if outcome == "failed":
        failure = run.failures[0]
        reason = f"Failed in {failure.task}: {failure.error} {failure.action}"
    elif outcome == "incomplete" and died:
        outcome, reason = "failed", "A task ended without a record: it was killed, ran out of memory or never started."
    return MethodResult(
        name=name, kind=run.provenance.method, overrides=dict(overrides), outcome=outcome, passed=passed, why=reason,
        measures=_numbers(evidence, names), dominated_by=above, work=_work(run), drift=run.drift,
        flip_rate=_flip_rate(run),
    )


def _flip_rate(run: RunSummary) -> Number | None:
    rate = run.diagnosis.flip_rate if run.diagnosis is not None else None
    if rate is None or rate.value is None or rate.interval is None:
        return None
    return Number(value=rate.value, interval=rate.interval, n=rate.n)


def _work(run: RunSummary) -> Work:
    """Return what was sampled and trained on, in all rounds; training on responses of its own passes through those."""
    before, during = Counter[str](), Counter[str]()
    for step in run.steps:
        of = {"sample-training": before, "train": during}.get(without_round(step.name))
        if of is not None:
            of.update(step.counts)
    epochs = run.setting("training", "epochs", default=1)
    own = during["response_tokens"]
    return Work(
        responses=int(before["responses"] + during["responses"]), tokens_sampled=int(before["tokens"] + own),
        tokens_trained=int(own or during["tokens"] * epochs),
    )


def _outcome(
    records: Mapping[str, StageRecord], methods: Sequence[MethodResult], *, died: bool
) -> ComparisonOutcome:
    if any(method.passed for method in methods):
        return "some pass"
    if died or any(not record.succeeded for record in records.values()):
        return "failed"
    unfinished = not methods or any(method.outcome == "incomplete" for method in methods)
    return "incomplete" if unfinished else "none passes"


def _failures(records: Mapping[str, StageRecord]) -> tuple[Failure, ...]:
    return tuple(
        Failure(task=task, stage=record.stage, error=record.error, action=record.action)
        for task, record in sorted(records.items()) if not record.succeeded
    )


def _costs(
    run_id: str, plan: PlanDetails, runs: Mapping[str, RunSummary], result: ComparisonResult
) -> Costs:
    price = plan.config.get("cost", {})
    hour = price.get("gpu_hour")
    methods = {name: _cost(run, hour) for name, run in runs.items()}
    passing = result.passing
    basis: Basis = ""
    if passing:
        of = [methods[name] for name in passing]
        basis = "tokens"
        if not any(cost.reused for cost in of):
            basis = "GPU time" if all(cost.gpu_seconds for cost in of) else "time"
    work = {method.name: method.work for method in result.methods}

    def amount(name: str) -> float:
        if basis == "tokens":
            return work[name].tokens_sampled + work[name].tokens_trained
        return methods[name].gpu_seconds if basis == "GPU time" else methods[name].seconds

    return Costs(
        run_id=run_id, currency=str(price.get("currency", "USD")), gpu_hour=hour, methods=methods,
        cheapest=min(passing, key=amount, default=""), basis=basis,
    )


def _cost(run: RunSummary, hour: float | None) -> MethodCost:
    # the cost of a method; pilot and evaluation cost the same for all
    steps: list[Step] = [step for step in run.steps if without_round(step.name) in MAKING]
    gpus = math.fsum(step.gpu_seconds for step in steps)
    return MethodCost(
        seconds=math.fsum(step.seconds for step in steps), gpu_seconds=gpus,
        money=gpus / 3600 * hour if hour is not None and gpus else None,
        reused=any(_reused(step.counts) for step in steps),
    )


def compared_runs(records: Mapping[str, StageRecord], summary: ComparisonSummary) -> ComparedRuns:
    """Return what MLflow gets of a comparison.

    Args:
        records: Records of the run.
        summary: Its summary.
    """
    shared = {task: record for task, record in records.items() if not method_of(task)}
    owners = {one.method: one for one in records["plan"].read(PlanDetails).shared}
    methods = []
    for of in summary.result.methods:
        own = {task: record for task, record in view(records, owners[of.name]).items() if task not in shared}
        own["plan"] = view(records, owners[of.name])["plan"]
        cost = summary.costs.methods[of.name]
        values: dict[str, float] = {
            "cost/responses": of.work.responses, "cost/tokens_sampled": of.work.tokens_sampled,
            "cost/tokens_trained": of.work.tokens_trained, "cost/seconds": cost.seconds,
            "cost/gpu_seconds": cost.gpu_seconds, "dominated_by": len(of.dominated_by),
        }
        if cost.money is not None:
            values["cost/money"] = cost.money
        tags = {
            "thinksafe.method": of.name, "thinksafe.outcome": of.outcome,
            "thinksafe.dominated_by": ", ".join(of.dominated_by),
        }
        methods.append(ComparedRun(of.name, own, values, tags, failed=of.outcome == "failed"))
    tags = {
        "thinksafe.outcome": summary.result.outcome, "thinksafe.passing": ", ".join(summary.result.passing),
        "thinksafe.cheapest": summary.costs.cheapest,
    }
    return ComparedRuns(
        summary.run_id, f"compare {summary.setting('name', default='')}", shared, methods, tags,
        failed=summary.result.outcome == "failed",
    )
