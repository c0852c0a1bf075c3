"""monitor: metrics and outcomes of one model -> is it as good as it was, and within its limits?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from thinksafe.config.sections import MonitorSection
from thinksafe.deciding.checks import written
from thinksafe.deciding.monitor import assess
from thinksafe.deciding.waivers import applied
from thinksafe.digests import digest_file, digest_json
from thinksafe.jsonl import read_record, read_records, write_atomic, write_json
from thinksafe.models.references import read_reference
from thinksafe.records import MetricSet, Outcome
from thinksafe.registry import evaluations
from thinksafe.registry.evaluations import Evaluation
from thinksafe.registry.ledger import now
from thinksafe.run.details import MonitorDetails
from thinksafe.run.manifests import read_manifest
from thinksafe.run.record import StageContext, StageResult, recorded

REMEASURED = frozenset({"guard", "second guard", "grader"})
"""Instruments whose change leaves the samples as they were, so that these can be measured again."""


def run(
    context: StageContext, section: MonitorSection, model: Path, metrics: Path, outcomes: Path, samples: Path,
    verdicts: Path, grades: Path, previous_metrics: Path, previous_outcomes: Path, *, decision_out: Path,
    passed_out: Path,
) -> StageResult:
    """Write the Decision (JSON) and ``true`` or ``false``, and add the evaluation to the model's history.

    The comparison is with the last evaluation of the same model by the same suite, from any run; a repeated attempt of
    a run is compared with the same one again. Where another guard or grader measures than did then, its samples as
    measured again take its place. Where this cannot be done, or samples are drawn by other code, nothing is compared:
    the evaluation is a new baseline, and the decision says so.

    Args:
        context: Store, run and task.
        section: Limits and level.
        model: ModelReference of the model.
        metrics: MetricSet of the model.
        outcomes: Outcomes, JSON Lines.
        samples: Manifest of the samples.
        verdicts: Manifest of the verdicts; it names what made them, as that of the grades does.
        grades: Manifest of the grades.
        previous_metrics: MetricSet of the samples of the last evaluation, measured again; absent where none are kept.
        previous_outcomes: Outcomes of that.
        decision_out: Where the Decision is written.
        passed_out: Where the flag is written.

    Raises:
        InputError: a file is missing or malformed.
        StoreError: the history is malformed, or the store failed.
    """
    with recorded(context, section) as result:
        reference, measured = read_reference(model), read_record(metrics, MetricSet)
        again = read_record(previous_metrics, MetricSet)
        drawn, judged, graded = (read_manifest(path) for path in (samples, verdicts, grades))
        instruments = judged.instruments | graded.instruments
        result.inputs = {
            "model": reference.digest, "metrics": digest_file(metrics), "outcomes": digest_file(outcomes),
            "samples": drawn.digest, "verdicts": judged.digest, "grades": graded.digest,
            "previous_metrics": digest_file(previous_metrics), "previous_outcomes": digest_file(previous_outcomes),
        }
        now_rows = read_records(outcomes, Outcome)
        entry = evaluations.last_before(context.store, reference, measured.suite, context.run_id)
        changed = _changed(entry, instruments) if entry is not None else []
        kept = not again.absent and again.suite == measured.suite
        previous, remark = None, ""
        if entry is None:
            decision = assess(measured, now_rows, None, (), section)
        elif not changed:
            previous = entry.metrics
            with evaluations.outcomes_of(context.store, entry) as before:
                decision = assess(measured, now_rows, previous, before, section)
        elif REMEASURED.issuperset(changed) and kept:
            previous = again
            remark = (
                f"{_named(changed)} changed since evaluation {entry.number}. Its samples were measured again with what "
                f"measures now, and the comparison is with that{_moves(entry.metrics, again)}."
            )
            decision = assess(measured, now_rows, again, read_records(previous_outcomes, Outcome), section, remark)
        else:
            if not entry.instruments:
                why = f"Evaluation {entry.number} does not say what measured it"
            elif REMEASURED.issuperset(changed):
                why = f"{_named(changed)} changed since evaluation {entry.number}, whose samples are not kept"
            else:
                why = f"{_named(changed)} changed since evaluation {entry.number}, so its samples were drawn otherwise"
            remark = f"{why}: nothing is compared with it. This evaluation is the new baseline."
            decision = assess(measured, now_rows, None, (), section, remark)
        details = MonitorDetails(previous=None, changed=tuple(changed))
        if previous is not None and entry is not None:
            details = details.model_copy(
                update={
                    "previous": {"run_id": entry.run_id, "number": entry.number, "created": entry.created},
                    "previous_metrics": previous.model_copy(update={"role": "previous"}),
                }
            )
        appended = evaluations.append(
            context.store, reference, measured, outcomes, run_id=context.run_id, created=now(),
            samples=drawn.digest, planned=section.suite, instruments=instruments, passed=decision.passed,
        )
        write_json(decision_out, decision)
        write_atomic(passed_out, b"true" if decision.passed else b"false")
        result.verdict = "passed" if decision.passed else "regressed"
        result.outputs = {"decision": digest_file(decision_out), "evaluation": digest_json(appended)}
        result.counts = {
            "checks": len(decision.checks), "failed": sum(check.status == "failed" for check in decision.checks),
            "waived": len(applied(decision)),
        }
        result.details = details.model_copy(update={"decision": decision, "number": appended.number})
    return result


def _changed(entry: Evaluation, instruments: Mapping[str, str]) -> list[str]:
    """Return what measured then and does not now; of an evaluation that did not record it, everything."""
    then = entry.instruments
    return [name for name in sorted(then.keys() | instruments.keys()) if then.get(name) != instruments.get(name)]


def _named(changed: Sequence[str]) -> str:
    *most, last = changed
    return f"The {', '.join(most)} and {last}" if most else f"The {last}"


def _moves(then: MetricSet, again: MetricSet) -> str:
    """Say which numbers of the same samples differ."""
    before = {metric.name: metric.value for metric in then.metrics}
    moves = [
        f"{metric.name} {written([before[metric.name]], '%')[0]} then, {written([metric.value], '%')[0]} now"
        for metric in again.metrics if metric.name in before and metric.value != before[metric.name]
    ]
    return f" ({'; '.join(moves)})" if moves else ", which gives the same numbers"
