"""alarm: the decision of a re-evaluation -> a message to the right people. Its command fails, and with it the run."""

from __future__ import annotations

from pathlib import Path

from thinksafe.config.sections import AlarmSection
from thinksafe.digests import digest_file
from thinksafe.errors import StageError
from thinksafe.jsonl import read_record
from thinksafe.models.references import read_reference
from thinksafe.records import Decision
from thinksafe.run.details import AlarmDetails
from thinksafe.run.record import StageContext, StageResult, recorded
from thinksafe.webhook import post


def run(context: StageContext, section: AlarmSection, decision: Path, model: Path) -> StageResult:
    """Call the webhook, if one is configured. No alias is moved: people decide what to do about a regression.

    A webhook that cannot be reached is recorded and does not hide the alarm.

    Args:
        context: Store, run and task.
        section: Whom to notify.
        decision: Decision of monitor.
        model: ModelReference of the model.

    Raises:
        InputError: a file is missing or malformed.
        StageError: the decision passed, so there is no alarm to raise.
    """
    with recorded(context, section) as result:
        decided, reference = read_record(decision, Decision), read_reference(model)
        if decided.passed:
            raise StageError("The decision passed; there is no alarm to raise.", "Check the pipeline's wiring.")
        message = {
            "event": "thinksafe.alarm", "suite": section.suite, "run_id": context.run_id, "model": reference.digest,
            "student": reference.student.model, "adapter_digest": reference.adapter_digest,
            "weights_digest": reference.weights_digest, "summary": decided.summary,
            "failed": [
                {"check": check.name, "value": check.value, "threshold": check.threshold, "n": check.n}
                for check in decided.checks if check.status == "failed"
            ],
            "report": context.store.uri(f"reports/{context.run_id}/report.html"),
        }
        result.inputs = {"decision": digest_file(decision), "model": reference.digest}
        result.verdict = "alarm"
        result.details = AlarmDetails(webhook=post(section.alarm.webhook_env, message).words)
    return result
