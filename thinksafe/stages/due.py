"""due: is there anything new since the champion was made, so that a realignment could give another result?

A schedule starts runs whether or not there is a reason. A run with the same student, prompts, settings and code as the
champion's run would make the same adapter again, so it ends here, with nothing to do. The same holds for a run that
would make a rolled-back candidate again: a schedule must not undo a failed rollout or a manual rollback. And it holds
for a candidate that awaits approval or was rejected: nobody is asked the same twice.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from thinksafe.digests import digest_file, digest_json
from thinksafe.errors import DamagedError, InputError, StageError
from thinksafe.jsonl import write_atomic
from thinksafe.registry import approvals, ledger
from thinksafe.registry.ledger import TakenBack
from thinksafe.registry.sign_off import Standing, standing
from thinksafe.run.details import DueDetails, PlanDetails
from thinksafe.run.record import StageContext, StageResult, find_record, recorded
from thinksafe.stages.plan import POLICY
from thinksafe.store import Store

NOTHING = "nothing to do"
MOST = 20
"""Versions that are looked at for what people were asked, the newest first."""
_NO_INPUT = frozenset({"report"})
"""Sections of the plan that change no adapter and no decision."""


def run(context: StageContext, contamination: Path, *, if_changed: bool, passed_out: Path) -> StageResult:
    """Write whether the run continues, ``true`` or ``false``.

    It compares the digests in the records of ``plan`` and ``prepare``: student, each section of the configuration, each
    prompt set, each guard's policy, version of thinksafe and its libraries. They are compared with those of the
    champion's run, of the runs whose candidates were rolled back, and of those that asked people. A run whose records
    are gone counts as different.

    Args:
        context: Store and run.
        contamination: Contamination report; shows that ``prepare`` has finished.
        if_changed: Continue only if something is new. Off: always continue, but still record what is new.
        passed_out: Where the flag is written.

    Raises:
        StageError: this run has no records of plan and prepare.
        StoreError: the store failed, or the ledger is malformed.
    """
    with recorded(context, None) as result:
        result.inputs = {"contamination": digest_file(contamination)}
        ours = run_inputs(context.store, context.run_id)
        if ours is None:
            raise StageError(
                f"The run {context.run_id} has no records of plan and prepare.", "Start the same run again."
            )
        model = _model(context.store, context.run_id)
        entry = ledger.champion_for_run(context.store, model, context.run_id)
        theirs = run_inputs(context.store, entry.run_id) if entry is not None else None
        changed: list[str] | None = None
        if theirs is not None:
            changed = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        same = changed == []
        taken = None if same else _taken_back(context, model, ours)
        asked = None if same or taken is not None else _asked(context, model, ours)
        goes_on = not ((same or taken is not None or asked is not None) and if_changed)
        result.verdict = "due" if goes_on else NOTHING
        result.outputs = {"inputs": digest_json(ours)}
        result.details = DueDetails(
            if_changed=if_changed, same=same, changed=None if changed is None else tuple(changed),
            champion_run=entry.run_id if entry is not None else "",
            champion_generation=entry.generation if entry is not None else None,
            taken_back={
                "run_id": taken.entry.run_id, "generation": taken.entry.generation, "version": taken.entry.version,
                "action": taken.by.action, "by_generation": taken.by.generation, "reason": taken.by.reason,
            } if taken is not None else None,
            asked={
                "run_id": asked.subject.run_id, "version": asked.subject.version, "state": asked.review.state,
                "words": asked.review.words,
            } if asked is not None else None,
        )
        write_atomic(passed_out, b"true" if goes_on else b"false")
    return result


def _taken_back(context: StageContext, model: str, ours: dict[str, str]) -> TakenBack | None:
    """Return the newest rolled-back candidate that this run would make again; this run's own does not count."""
    past = ledger.entries(context.store, model)
    found = sorted(ledger.taken_back(past).values(), key=lambda taken: taken.by.generation, reverse=True)
    for taken in found:
        if taken.entry.run_id != context.run_id and run_inputs(context.store, taken.entry.run_id) == ours:
            return taken
    return None


def _asked(context: StageContext, model: str, ours: dict[str, str]) -> Standing | None:
    """Return where the newest candidate stands that this run would make again and about which people were asked."""
    for version in approvals.versions(context.store, model)[:MOST]:
        with suppress(InputError, DamagedError):  # it was promoted since, or its run's records are gone
            found = standing(context.store, model, version)
            open_ = found.moved is None and found.review.state in ("waiting", "approved", "rejected")
            run_id = found.subject.run_id
            if open_ and run_id != context.run_id and run_inputs(context.store, run_id) == ours:
                return found
    return None


def run_inputs(store: Store, run_id: str) -> dict[str, str] | None:
    """Return the digest of every input of a run, by name; None if its records are gone or malformed."""
    plan, prepare = (find_record(store, run_id, task) for task in ("plan", "prepare"))
    if plan is None or prepare is None or not (plan.succeeded and prepare.succeeded and prepare.outputs):
        return None
    planned = plan.read(PlanDetails)
    if not planned.sections:
        return None
    found = {f"section {name}": digest_json(_undated(value)) for name, value in planned.sections.items()
             if name not in _NO_INPUT}
    found |= {f"prompts {name}": digest for name, digest in prepare.outputs.items()}
    found |= {name: digest for name, digest in plan.outputs.items() if name.startswith(POLICY)}
    return found | {"student": plan.outputs.get("base", ""), "code": digest_json(planned.code)}


def _undated(section: Any) -> Any:
    """Return a section without the day of the plan, by which waivers expire: a new day alone does not count."""
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if key != "waivers_on"}


def _model(store: Store, run_id: str) -> str:
    plan = find_record(store, run_id, "plan")
    assert plan is not None, "run_inputs found it"
    return str(plan.read(PlanDetails).registry["model"])
