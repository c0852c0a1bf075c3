"""The approvals of a run's candidate, for its pages."""

from __future__ import annotations

from pydantic import ValidationError

from thinksafe.records import ApprovalUse
from thinksafe.report.summary import RunSummary


def approvals_of(summary: RunSummary) -> list[ApprovalUse]:
    """Return the approvals that promoted the candidate, or those that it had when the run ended without promoting it.

    What another version or a person wrote in their place is left out.
    """
    found = summary.promotion.get("approvals") or summary.approval.get("approvals")
    uses = []
    for item in found if isinstance(found, list) else ():
        try:
            uses.append(ApprovalUse.model_validate(item))
        except ValidationError:
            continue
    return uses
