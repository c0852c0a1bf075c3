"""Waivers: a named person takes responsibility for a failed check, until a given day.

A waiver never makes a check pass: the check keeps its numbers and its reason and gets the status ``waived``. A waiver
has no effect on a check without data, on one that passed, or after its last day.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from thinksafe.config.waivers import Waiver, objection
from thinksafe.errors import InputError
from thinksafe.records import Check, Decision, WaiverEffect, WaiverUse


def apply_waivers(
    checks: Sequence[Check], waivers: Iterable[Waiver], day: datetime.date | None, known: Iterable[str] = ()
) -> tuple[list[Check], list[WaiverUse]]:
    """Return the checks, with the waived ones marked, and the effect of each waiver.

    Args:
        checks: Checks of the gate.
        waivers: At most one per check.
        day: Day (UTC) on which waivers must be valid.
        known: Names of further checks that are possible, such as those against a champion.

    Raises:
        InputError: a waiver names an unknown check or one that cannot be waived, or there are waivers but no day.
    """
    found = {check.name: check for check in checks}
    uses = []
    for waiver in waivers:
        if day is None:
            raise InputError(
                "The gate's section has waivers but no date to check them against.",
                "Use the section from the output of `thinksafe plan`, which sets the date of a run.",
            )
        require_waivable(waiver.check, {*found, *known})
        effect = _effect(waiver, found.get(waiver.check), day)
        if effect == "applied":
            found[waiver.check] = found[waiver.check].model_copy(update={"status": "waived"})
        uses.append(WaiverUse(**waiver.model_dump(), effect=effect))
    return list(found.values()), uses


def require_waivable(check: str, known: Iterable[str]) -> None:
    """Raise InputError unless a check exists and may be waived; the error lists the checks that may."""
    if (found := objection(check, sorted(known))) is not None:
        why, allowed = found
        raise InputError(
            f"The waiver of {check[:80]!r}: this {why}.", f"Checks that can be waived: {', '.join(allowed)}."
        )


def _effect(waiver: Waiver, check: Check | None, day: datetime.date) -> WaiverEffect:
    if check is None or check.passed:
        return "not needed"
    if day > waiver.expires:
        return "expired"
    return "no data" if check.value is None else "applied"


def applied(decision: Decision) -> list[WaiverUse]:
    """Return the waivers without which a decision would have refused the candidate."""
    return [use for use in decision.waivers if use.effect == "applied"]


def described(use: WaiverUse) -> str:
    """Return who waived what until when, on one line: ``harm/x (waived by Ann until 2026-12-31)``."""
    return f"{use.check} (waived by {use.person} until {use.expires})"


def decision_word(decision: Decision) -> str:
    """Return ``passed``, ``passed with waivers`` or ``refused``."""
    if not decision.passed:
        return "refused"
    return "passed with waivers" if applied(decision) else "passed"
