"""What promote does where people must approve: ask, and say in MLflow and to the webhook where the candidate stands."""

from __future__ import annotations

from typing import Any

from thinksafe.config.promotion import PromotionSettings
from thinksafe.records import Decision
from thinksafe.registry import approvals, sign_off
from thinksafe.registry.approvals import Review, Subject
from thinksafe.registry.decision_tags import tag_approval
from thinksafe.registry.registration import Registration
from thinksafe.run.record import StageContext
from thinksafe.webhook import post

AWAITING, REJECTED = "awaiting approval", "rejected"
"""Verdicts of promote, and outcomes of a run."""


def reviewed(
    context: StageContext, settings: PromotionSettings, subject: Subject, registration: Registration,
    decision: Decision,
) -> Review:
    """Return where a candidate stands, after asking for approval if that was not done; tag its version accordingly.

    Args:
        context: Store and run.
        settings: Whose approval is required.
        subject: What would be promoted.
        registration: Of the candidate.
        decision: Of the gate, which passed.

    Raises:
        StoreError: an entry or a record is damaged.
        StageError: MLflow failed.
    """
    rule = sign_off.rule_of(context.store, settings, registration.run_id, decision)
    review = sign_off.ask(context.store, subject, rule, decision.summary)
    tag_approval(registration, review)
    return review


def announced(
    context: StageContext, settings: PromotionSettings, subject: Subject, decision: Decision, review: Review
) -> dict[str, Any]:
    """Tell the webhook, if one is configured, that a candidate awaits approval or was rejected.

    Returns:
        Where the candidate stands, and the result of the call, for the record. A webhook that cannot be reached stops
        nothing.
    """
    answer = post(settings.webhook_env, {
        "event": "thinksafe.rejected" if review.state == "rejected" else "thinksafe.awaiting_approval",
        "run_id": context.run_id, "model": subject.model, "version": subject.version, "summary": decision.summary,
        "required": settings.approval.required, **approvals.shown(review),
        "report": context.store.uri(f"reports/{context.run_id}/report.html"),
    })
    return {**approvals.shown(review), "webhook": answer.words}
