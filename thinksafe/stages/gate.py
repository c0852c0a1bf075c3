"""gate: metrics and outcomes of base, candidate and champion -> decision."""

from __future__ import annotations

from pathlib import Path

from thinksafe.config.sections import GateSection
from thinksafe.deciding.gate import decide
from thinksafe.deciding.waivers import applied, decision_word
from thinksafe.digests import digest_file
from thinksafe.jsonl import read_record, read_records, write_atomic, write_json
from thinksafe.prompts.decontamination import Contamination
from thinksafe.records import MetricSet, Outcome
from thinksafe.run.details import DecisionDetails
from thinksafe.run.record import StageContext, StageResult, recorded


def run(
    context: StageContext,
    section: GateSection,
    base_metrics: Path,
    base_outcomes: Path,
    candidate_metrics: Path,
    candidate_outcomes: Path,
    champion_metrics: Path,
    champion_outcomes: Path,
    contamination: Path | None = None,
    registration: Path | None = None,
    *,
    decision_out: Path,
    passed_out: Path,
) -> StageResult:
    """Write the Decision (JSON) and ``true`` or ``false``; tag the registered version with it.

    The tag comes first: an output exists only after everything that it promises is done. Tagging again is harmless.

    Args:
        context: Store, run and task.
        section: Thresholds.
        base_metrics: MetricSet of the student as it is; ``base_outcomes``: its outcomes, and so on for the candidate
            and the champion (absent set, empty outcomes: there is no champion).
        base_outcomes: Outcomes, JSON Lines.
        candidate_metrics: MetricSet.
        candidate_outcomes: Outcomes.
        champion_metrics: MetricSet.
        champion_outcomes: Outcomes.
        contamination: Contamination report of the training prompts; without it the check on it is left out.
        registration: Registration of the candidate, if its version is to be tagged; JSON ``null`` is none.
        decision_out: Where the Decision is written.
        passed_out: Where the flag is written.

    Raises:
        InputError: a file is missing or malformed, or a metric set belongs to another role.
        StageError: the version could not be tagged.
    """
    with recorded(context, section) as result:
        files = {
            "base_metrics": base_metrics, "base_outcomes": base_outcomes,
            "candidate_metrics": candidate_metrics, "candidate_outcomes": candidate_outcomes,
            "champion_metrics": champion_metrics, "champion_outcomes": champion_outcomes,
        }
        base, candidate, champion = (
            read_record(path, MetricSet) for path in (base_metrics, candidate_metrics, champion_metrics)
        )
        decision = decide(
            base, candidate, champion,
            {
                "base": read_records(base_outcomes, Outcome),
                "candidate": read_records(candidate_outcomes, Outcome),
                "champion": read_records(champion_outcomes, Outcome),
            },
            section,
            read_record(contamination, Contamination) if contamination is not None else None,
        )
        if contamination is not None:
            files["contamination"] = contamination
        result.inputs = {name: digest_file(path) for name, path in files.items()}
        if registration is not None and registration.read_bytes().strip() != b"null":
            from thinksafe.registry.decision_tags import tag_decision
            from thinksafe.registry.registration import Registration

            tag_decision(read_record(registration, Registration), decision)
            result.inputs["registration"] = digest_file(registration)
        write_json(decision_out, decision)
        write_atomic(passed_out, b"true" if decision.passed else b"false")
        result.verdict = decision_word(decision)
        result.outputs = {"decision": digest_file(decision_out)}
        result.counts = {
            "checks": len(decision.checks), "failed": sum(check.status == "failed" for check in decision.checks),
            "waived": len(applied(decision)),
        }
        result.details = DecisionDetails(decision=decision)
    return result
