"""Entries about one version, two days from its request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from thinksafe.config.promotion import ApprovalSettings
from thinksafe.registry.approvals import Entry, Rule, Subject, stamp

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECT = Subject(
    model="m", version="3", run_id="r", candidate="c", decision="d", gate="g", champion="", generation=0
)
OTHER = SUBJECT.model_copy(update={"decision": "x"})
PEOPLE = ("ann", "bob", "cid")
SETTINGS = ApprovalSettings(required=2, by=PEOPLE, expires="2d", identity="system")
RULE = Rule(SETTINGS, "author", ())


def entry(action: str, who: str = "ann", /, *, number: int = 1, hours: float = 0, **changed: Any) -> Entry:
    """Return an entry so many hours after the request was made."""
    made = {
        "number": number, "action": action, "subject": SUBJECT, "who": who, "reason": "fine",
        "created": stamp(NOW + timedelta(hours=hours)),
        "expires": stamp(NOW + timedelta(days=2)) if action == "request" else "",
    }
    return Entry.model_validate(made | changed)
