"""plan_promotion: the records of a run that awaits approval -> the files that promote and deploy read.

A promotion after sign-off is the rest of the run that waited: it goes on under the same id, with the plan, decision,
registration and models that the run recorded.
"""

from __future__ import annotations

from pathlib import Path

from thinksafe.config.plan_document import PlanDocument
from thinksafe.errors import DamagedError, InputError
from thinksafe.jsonl import write_json
from thinksafe.models.references import ModelReference
from thinksafe.registry.registration import Registration
from thinksafe.registry.versions import made_by
from thinksafe.run.details import DecisionDetails, PlanDetails, RegisterDetails
from thinksafe.run.record import RESTORE, StageContext, StageRecord, StageResult, find_evidence, recorded


def run(
    context: StageContext, *, plan_out: Path, decision_out: Path, registration_out: Path, candidate_out: Path,
    champion_out: Path,
) -> StageResult:
    """Write what the run has recorded. Whether approvals suffice is for promote to say.

    Args:
        context: Store, and the run that waited.
        plan_out: The plan, as the run's own plan wrote it.
        decision_out: Decision of its gate.
        registration_out: Registration of its candidate.
        candidate_out: ModelReference of the candidate.
        champion_out: ModelReference that the gate compared with; may be absent.

    Raises:
        InputError: the run has not reached its gate, or is not in this store.
        StoreError: a record is damaged, or the candidate is not what was registered.
    """
    with recorded(context, None) as result:
        plan = _record(context, "plan").require(PlanDetails)
        decision = _record(context, "gate").require(DecisionDetails).decision
        registered = _record(context, "register").require(RegisterDetails).registration
        try:
            registration = Registration.model_validate(registered)
            champion = ModelReference.model_validate(plan.champion)
        except ValueError as error:
            raise DamagedError(f"A record of the run {context.run_id} is malformed.", RESTORE) from error
        candidate = made_by(context.store, context.run_id, registration.name, registration.version)
        if decision is None or candidate.digest != registration.candidate:
            raise DamagedError(
                f"The records of the run {context.run_id} do not belong together: its candidate is not what it "
                "registered, or its gate recorded no decision.", RESTORE,
            )
        write_json(plan_out, PlanDocument(run_id=context.run_id, sections=plan.sections))
        write_json(decision_out, decision)
        write_json(registration_out, registration)
        write_json(candidate_out, candidate)
        write_json(champion_out, champion)
        result.inputs = {"candidate": candidate.digest, "champion": "" if champion.absent else champion.digest}
    return result


def _record(context: StageContext, task: str) -> StageRecord:
    record = find_evidence(context.store, context.run_id, task)
    if record is None or not record.succeeded:
        raise InputError(
            f"The run {context.run_id} has no record of {task} in {context.store.root}.",
            "Give the run that awaits approval, and the store that it used.",
        )
    return record
