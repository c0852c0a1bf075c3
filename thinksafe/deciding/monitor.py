"""A re-evaluation: is the model within its limits, and is it as good as it was?

There are two kinds of checks. The limits are the gate's, tested as the gate tests them: the bound must keep the limit,
and no data fails. A regression check is the reverse: the model counts as unchanged until there is evidence, at the
level ``alarm.alpha``, that it is worse than at its last evaluation on the same prompts, measured alike. A schedule
repeats the test; if the model had to prove that it is unchanged, chance alone would soon raise the alarm.
"""

from __future__ import annotations

from collections.abc import Iterable

from thinksafe.config.checks import Subject
from thinksafe.config.sections import MonitorSection
from thinksafe.deciding.checks import concluded
from thinksafe.deciding.gate import report_only_notes
from thinksafe.deciding.measures import Scope, checks_of
from thinksafe.deciding.waivers import apply_waivers, described
from thinksafe.measuring.evidence import Evidence
from thinksafe.records import Check, Decision, MetricSet, Outcome, WaiverUse


def assess(
    metrics: MetricSet, outcomes: Iterable[Outcome], previous: MetricSet | None, before: Iterable[Outcome],
    section: MonitorSection, remark: str = "",
) -> Decision:
    """Decide whether an evaluation raises the alarm: it does unless the decision passes.

    The checks are those of the catalogue for an evaluation, limited to the metrics that the suite asks for.

    Args:
        metrics: Metrics of the model now.
        outcomes: Outcomes behind them.
        previous: The last metrics of the same model under the same suite; None for a first evaluation.
        before: Outcomes behind the last metrics.
        section: Limits, and the level of the comparison.
        remark: What a reader must know about the comparison, or why there is none.
    """
    models: dict[Subject, Evidence] = {"model": Evidence(metrics.model_copy(update={"role": "evaluated"}), outcomes)}
    if previous is not None:
        models["previous"] = Evidence(previous.model_copy(update={"role": "previous"}), before)
    checks = checks_of("evaluation", Scope(models, section, frozenset(section.kinds)))
    waivers, day = section.gate.waivers, section.waivers_on
    checks, uses = apply_waivers(checks, waivers, day, section.known_checks)
    if previous is not None:
        against = "compared with the last evaluation"
    else:
        against = "a new baseline" if remark else "the first evaluation of this model with this suite"
    notes = ([remark] if remark else []) + report_only_notes(section.report_only)
    return concluded(
        "monitor", checks, _summary(checks, uses, against), notes=tuple(notes), waivers=tuple(uses),
        waivers_on=day if uses else None,
    )


def _summary(checks: list[Check], uses: list[WaiverUse], against: str) -> str:
    failed = [check.name for check in checks if check.status == "failed"]
    waived = [described(use) for use in uses if use.effect == "applied"]
    besides = f" {len(waived)} failed and waived: {', '.join(waived)}." if waived else ""
    if not failed:
        held = f"{len(checks) - len(waived)} of {len(checks)}" if waived else f"all {len(checks)}"
        return f"No alarm: {held} checks hold ({against}).{besides}"
    return f"Alarm: {len(failed)} of {len(checks)} checks failed ({against}): {', '.join(failed)}.{besides}"
