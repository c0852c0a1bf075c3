"""monitor: metrics and outcomes of one model -> is it as good as it was, and within its limits?"""

from __future__ import annotations

from pathlib import Path

from thinksafe.config.sections import MonitorSection
from thinksafe.deciding.monitor import assess
from thinksafe.deciding.waivers import applied
from thinksafe.digests import digest_file, digest_json
from thinksafe.jsonl import read_record, read_records, write_atomic, write_json
from thinksafe.models.references import read_reference
from thinksafe.records import MetricSet, Outcome
from thinksafe.registry import evaluations
from thinksafe.registry.ledger import now
from thinksafe.run.details import MonitorDetails
from thinksafe.run.record import StageContext, StageResult, recorded


def run(
    context: StageContext, section: MonitorSection, model: Path, metrics: Path, outcomes: Path,
    *, decision_out: Path, passed_out: Path,
) -> StageResult:
    """Write the Decision (JSON) and ``true`` or ``false``, and add the evaluation to the model's history.

    The comparison is with the last evaluation of the same model by the same suite, from any run; a repeated attempt of
    a run is compared with the same one again.

    Args:
        context: Store, run and task.
        section: Limits and level.
        model: ModelReference of the model.
        metrics: MetricSet of the model.
        outcomes: Outcomes, JSON Lines.
        decision_out: Where the Decision is written.
        passed_out: Where the flag is written.

    Raises:
        InputError: a file is missing or malformed.
        StoreError: the history is malformed, or the store failed.
    """
    with recorded(context, section) as result:
        reference, measured = read_reference(model), read_record(metrics, MetricSet)
        result.inputs = {
            "model": reference.digest, "metrics": digest_file(metrics), "outcomes": digest_file(outcomes)
        }
        previous = evaluations.last_before(context.store, reference, measured.suite, context.run_id)
        details = MonitorDetails(previous=None)
        if previous is None:
            decision = assess(measured, read_records(outcomes, Outcome), None, (), section)
        else:
            with evaluations.outcomes_of(context.store, previous) as before:
                decision = assess(measured, read_records(outcomes, Outcome), previous.metrics, before, section)
            past = previous.metrics.model_copy(update={"role": "previous"})
            details = MonitorDetails(
                previous={"run_id": previous.run_id, "number": previous.number, "created": previous.created},
                previous_metrics=past,
            )
        entry = evaluations.append(
            context.store, reference, measured, outcomes, run_id=context.run_id, created=now()
        )
        write_json(decision_out, decision)
        write_atomic(passed_out, b"true" if decision.passed else b"false")
        result.verdict = "passed" if decision.passed else "regressed"
        result.outputs = {"decision": digest_file(decision_out), "evaluation": digest_json(entry)}
        result.counts = {
            "checks": len(decision.checks), "failed": sum(check.status == "failed" for check in decision.checks),
            "waived": len(applied(decision)),
        }
        result.details = details.model_copy(update={"decision": decision, "number": entry.number})
    return result
