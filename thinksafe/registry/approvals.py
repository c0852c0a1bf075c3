"""What people say about a candidate that the gate passed: an append-only series in the store, one for each version.

A run that needs approval appends a request, and people append approvals and rejections after it. Every entry names the
:class:`Subject` that it is about, so it says nothing about another candidate, champion, threshold or waiver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from thinksafe.config.model import Name
from thinksafe.config.promotion import ApprovalSettings
from thinksafe.errors import ConflictError, InputError, StoreError
from thinksafe.records import ApprovalUse, Count, Record, Text
from thinksafe.registry.series import Series, model_folder
from thinksafe.store import Store
from thinksafe.text import clean

ROOT = "approvals"
"""Folder of the entries."""
REASON = 1000
"""Longest reason, in characters."""
ATTEMPTS = 20
"""Numbers to try while others append to the same version."""
_VERSION = re.compile(r"[1-9][0-9]{0,17}")

State = Literal["not asked", "waiting", "approved", "rejected", "expired"]


class Subject(Record):
    """What an approval is about."""

    model: Name
    version: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]
    """MLflow version of the candidate."""
    run_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$")]
    """Run that made and judged it."""
    candidate: Text
    """Digest of its model reference."""
    decision: Text
    """Digest of the gate's decision: checks with their values and thresholds, and waivers."""
    gate: Text
    """Digest of the gate's section of the plan."""
    champion: str
    """Digest of the model that it was compared with; empty if there was none."""
    generation: Count
    """Newest generation of the ledger; 0 if there was none."""


class Entry(Record):
    """A request, an approval or a rejection."""

    schema_version: Literal[1] = 1
    number: Annotated[int, Field(ge=1)]
    """Place in the series of its version."""
    action: Literal["request", "approve", "reject"]
    subject: Subject
    who: Annotated[str, Field(min_length=1, max_length=200)]
    confirmed_by: Annotated[str, Field(max_length=2000)] = ""
    """Address of the Kubernetes API that confirmed who this is; empty if nobody did."""
    reason: Annotated[str, Field(min_length=1, max_length=REASON)]
    """Of a request: the summary of the decision."""
    created: Text
    """ISO 8601, UTC."""
    expires: str = ""
    """Of a request: until when it is open (ISO 8601, UTC)."""

    @model_validator(mode="after")
    def _ends(self) -> Entry:
        if (self.action == "request") != (_moment(self.expires) is not None):
            raise ValueError("a request, and nothing else, says when it expires")
        if _moment(self.created) is None:
            raise ValueError("created is not a time with its zone")
        return self


class Review(NamedTuple):
    """What the entries of a version come to."""

    state: State
    request: Entry | None
    """The newest request for the subject."""
    counted: tuple[Entry, ...]
    """Approvals that count, the first first."""
    ignored: tuple[tuple[Entry, str], ...]
    """Approvals and rejections after the request that do not count, each with the reason, a clause."""
    missing: int
    """How many more approvals are required."""
    persons: tuple[str, ...]
    """People whose waivers were applied and who must approve, too, but have not."""
    rejection: Entry | None

    @property
    def uses(self) -> tuple[ApprovalUse, ...]:
        """The approvals that count, as the ledger keeps them."""
        return tuple(
            ApprovalUse(person=one.who, confirmed_by=one.confirmed_by, reason=one.reason, created=one.created)
            for one in self.counted
        )

    @property
    def tally(self) -> str:
        """The state in a clause without times, such as ``1 of 2 approvals, by ann``."""
        if self.rejection is not None:
            return f"rejected by {clean(self.rejection.who)}: {clean(self.rejection.reason, REASON)}"
        names = ", ".join(clean(one.who) for one in self.counted)
        of = f"{len(self.counted)} of {len(self.counted) + self.missing} approvals{f', by {names}' if names else ''}"
        return f"{of}; {', '.join(map(clean, self.persons))} must approve the waiver" if self.persons else of

    @property
    def words(self) -> str:
        """The state in a clause, such as ``1 of 2 approvals, by ann; open until 2026-12-24 10:00 UTC``."""
        if self.request is None:
            return "no approval was asked for"
        if self.rejection is not None:
            return f"{self.tally} ({self.rejection.created[:10]})"
        end = _minute(self.request.expires)
        return f"{self.tally}; {'expired on' if self.state == 'expired' else 'open until'} {end}"


class Rule(NamedTuple):
    """Whose approvals count."""

    settings: ApprovalSettings
    author: str
    """Who published, submitted or started the run; empty if nobody knows."""
    waivers: tuple[str, ...]
    """People whose waivers were applied."""

    def objection(self, who: str, confirmed_by: str, action: str = "approve") -> str:
        """Return why somebody's word does not count, a clause; empty if it does."""
        settings = self.settings
        if who not in settings.by:
            return f"{who!r} is not in promotion.approval.by"
        if settings.identity == "kubernetes" and not confirmed_by:
            return f"no Kubernetes API confirmed that it is {who!r}"
        if action == "approve" and settings.distinct_from_author and who in (self.author, *settings.authors):
            return f"{who!r} is an author of the configuration, and promotion.approval.distinct_from_author is on"
        return ""


def entries(store: Store, model: str, version: str) -> list[Entry]:
    """Return what was said about a version, oldest first.

    Raises:
        ConfigError: the name is not valid for a registered model.
        StoreError: an entry is missing or malformed, or is the copy of one about another version; names its key.
    """
    return _series(store, model, version).all(workers=1)  # few; and callers read those of several versions at a time


def versions(store: Store, model: str) -> list[str]:
    """Return the versions about which something was said, newest first. Raises ConfigError, StoreError."""
    names = store.folders(model_folder(ROOT, model))
    return sorted(filter(_VERSION.fullmatch, names), key=int, reverse=True)


def review(found: Iterable[Entry], subject: Subject, rule: Rule, now: datetime) -> Review:
    """Return what entries come to for a subject. Only those that are about it count, from its newest request on.

    A rejection by somebody who may approve is final, also one by an author. An approval counts once a person.

    Args:
        found: Entries of a version, oldest first.
        subject: What would be promoted.
        rule: Whose approvals count.
        now: The time.
    """
    request: Entry | None = None
    counted: list[Entry] = []
    ignored: list[tuple[Entry, str]] = []
    rejection: Entry | None = None
    for entry in found:
        if entry.subject != subject:
            ignored.append((entry, "it is about another candidate, decision or champion"))
        elif entry.action == "request":
            if rejection is None:
                request, counted, ignored = entry, [], []
        elif why := rule.objection(entry.who, entry.confirmed_by, entry.action):
            ignored.append((entry, why))
        elif request is None:
            ignored.append((entry, "nothing was asked before it"))
        elif entry.action == "reject":
            rejection = rejection or entry
        elif entry.who in [one.who for one in counted]:
            ignored.append((entry, f"{entry.who!r} has approved already"))
        elif _time(entry.created) > ends(request, rule):
            ignored.append((entry, "the request had expired"))
        else:
            counted.append(entry)
    missing = max(rule.settings.required - len(counted), 0)
    approved = {one.who for one in counted}
    persons = tuple(sorted(set(rule.waivers) - approved)) if rule.settings.waivers == "approvers" else ()
    state: State = "approved" if not missing and not persons else "waiting"
    if request is None:
        state = "not asked"
    elif rejection is not None:
        state = "rejected"
    elif now > ends(request, rule):
        state = "expired"
    return Review(state, request, tuple(counted), tuple(ignored), missing, persons, rejection)


def ends(request: Entry, rule: Rule) -> datetime:
    """Return until when a request is open: what it says, and never longer than the configuration allows."""
    return min(_time(request.expires), _time(request.created) + timedelta(seconds=rule.settings.seconds))


def shown(found: Review) -> dict[str, Any]:
    """Return where a version stands for records, messages and pages, as JSON."""
    request = found.request
    return {
        "state": found.state, "tally": found.tally, "words": found.words, "missing": found.missing,
        "persons": list(found.persons),
        "since": request.created if request is not None else "",
        "expires": request.expires if request is not None else "",
        "decision": request.subject.decision if request is not None else "",
        "approvals": [use.model_dump(mode="json") for use in found.uses],
    }


def add(store: Store, make: Callable[[list[Entry]], Entry | None], model: str, version: str) -> Entry | None:
    """Append an entry, whoever else appends meanwhile.

    Args:
        store: Artifact store.
        make: Gets the entries so far, oldest first, and returns the next one, or None to append nothing. Called again
            when somebody else's entry came first.
        model: Registered model.
        version: Its version.

    Returns:
        What ``make`` returned last.

    Raises:
        StoreError: the store failed, an entry is malformed, or others appended faster.
    """
    series = _series(store, model, version)
    for _ in range(ATTEMPTS):
        entry = make(series.all())
        if entry is None:
            return None
        try:
            series.append(entry.number, entry)
        except ConflictError:
            continue
        return entry
    raise StoreError(
        f"{ATTEMPTS} other entries were written at {store.uri(series.prefix)} meanwhile.", "Start the command again."
    )


def reason_of(text: str) -> str:
    """Return a reason as one line. Raises InputError for one that is blank, too long or holds control characters."""
    line = " ".join(text.split())
    if not line or len(line) > REASON or not line.isprintable():
        raise InputError(
            f"The reason has {len(line)} characters{', some of which cannot be printed' if line else ''}.",
            f"Say why, in 1 to {REASON:,} characters.",
        )
    return line


def stamp(time: datetime) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _series(store: Store, model: str, version: str) -> Series[Entry]:
    if not _VERSION.fullmatch(version):
        raise InputError(f"{version[:80]!r} is not a version.", "Give the number that MLflow shows.")

    def stranger(entry: Entry, number: int) -> str:
        subject = entry.subject
        if (subject.model, subject.version, entry.number) == (model, version, number):
            return ""
        return f"entry {entry.number} about version {subject.version} of {subject.model!r}"

    return Series(
        store, f"{model_folder(ROOT, model)}{version}/", Entry,
        f"the record of approvals of version {version} of {model!r}", "a request or an approval", stranger,
    )


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _time(text: str) -> datetime:
    found = _moment(text)
    assert found is not None, "Entry has checked it"
    return found


def _minute(text: str) -> str:
    return _time(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
