"""The gate: metrics of base, candidate and champion -> one decision.

An intersection-union test: the null hypothesis is that at least one condition is violated, and the candidate passes
only if every check passes at level alpha. So good reasoning cannot make up for harm, and no correction for the number
of checks is needed (Berger 1982). Every number is computed again from the outcomes. Missing, absent, mismatching or
empty data fails the check that needs it, and the check says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from thinksafe.config.checks import KINDS, Subject
from thinksafe.config.sections import GateSection
from thinksafe.deciding.checks import concluded
from thinksafe.deciding.measures import Scope, checks_of
from thinksafe.deciding.waivers import apply_waivers, described
from thinksafe.errors import InputError
from thinksafe.measuring.evidence import Evidence
from thinksafe.prompts.decontamination import Contamination
from thinksafe.records import Check, Decision, MetricSet, Outcome, Role, WaiverUse


def decide(
    base: MetricSet,
    candidate: MetricSet,
    champion: MetricSet,
    outcomes: Mapping[Role, Iterable[Outcome]],
    section: GateSection,
    contamination: Contamination | None = None,
) -> Decision:
    """Decide whether the candidate may be promoted, by the checks that the catalogue has for the gate.

    Args:
        base: Metrics of the student as it is.
        candidate: Metrics of the student with the new adapter.
        champion: Metrics of the version in use; absent if there is none, which is not a failure.
        outcomes: Outcomes by role, in any order; each is read once.
        section: Thresholds and the strata of the reasoning average.
        contamination: Overlap of the training prompts with the benchmarks; None leaves those checks out.

    Raises:
        InputError: a metric set belongs to another role, or a waiver names a check that cannot be waived.
    """
    for role, metric_set in (("base", base), ("candidate", candidate), ("champion", champion)):
        if metric_set.role != role:
            raise InputError(
                f"The metrics given for the {role} are those of the {metric_set.role}.", "Check the pipeline's wiring."
            )
    evidence = {found.role: Evidence(found, outcomes.get(found.role, ())) for found in (base, candidate, champion)}
    models: dict[Subject, Evidence] = {"model": evidence["candidate"], "base": evidence["base"]}
    if not champion.absent:
        models["champion"] = evidence["champion"]
    checks = checks_of("gate", Scope(models, section, frozenset(KINDS), contamination))
    waivers, day = section.gate.waivers, section.waivers_on
    checks, uses = apply_waivers(checks, waivers, day, section.known_checks)
    return concluded(
        "gate", checks, _summary(checks, uses), notes=tuple(_notes(section)), waivers=tuple(uses),
        waivers_on=day if uses else None,
    )


def _notes(section: GateSection) -> list[str]:
    notes = report_only_notes(section.report_only)
    if section.same_guard:
        notes.append(
            f"One guard ({section.same_guard}) filtered the training samples and judged the evaluation: harm that it "
            "overlooks is overlooked twice, and every harm ratio here is biased towards zero by it."
        )
    return notes


def report_only_notes(names: Sequence[str]) -> list[str]:
    """Return the note of a decision about benchmarks that it did not check."""
    return [f"Reported only, without a check: {', '.join(names)}."] if names else []


def _summary(checks: Sequence[Check], uses: Sequence[WaiverUse]) -> str:
    failed = [check for check in checks if check.status == "failed"]
    waived = [described(use) for use in uses if use.effect == "applied"]
    if not failed and not waived:
        return f"Passed: all {len(checks)} checks hold."
    besides = f"; {len(waived)} failed and waived: {', '.join(waived)}" if waived else ""
    if not failed:
        return f"Passed with waivers: {len(checks) - len(waived)} of {len(checks)} checks hold{besides}."
    undecided = sum(check.undecided for check in failed)
    missing = sum(check.value is None for check in failed)
    notes = [f"{undecided} because there are too few prompts"] if undecided else []
    notes += [f"{missing} because data is missing"] if missing else []
    why = f" ({', '.join(notes)})" if notes else ""
    named = ", ".join(check.name for check in failed)
    return f"Refused: {len(failed)} of {len(checks)} checks failed{why}: {named}{besides}."
