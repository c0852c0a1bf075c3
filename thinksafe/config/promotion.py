"""Configuration of sign-off: whether people must approve what the gate passed, and who."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from thinksafe.config.waivers import Person, Waiver
from thinksafe.settings import Section

Identity = Literal["kubernetes", "system"]


class ApprovalSettings(Section):
    """Whose approval a candidate needs before it becomes champion."""

    required: Annotated[int, Field(ge=0, le=20, strict=True)] = 0
    """Approvals by different people that promote a candidate which the gate passed; 0: it is promoted at once."""
    by: tuple[Person, ...] = ()
    """People who may approve and reject, each exactly as ``identity`` names them."""
    expires: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[dh]$")] = "14d"
    """How long a request for approval is open, in days or hours; after that its approvals do not count any more."""
    distinct_from_author: bool = True
    """Four eyes: an approval by an author of the configuration does not count. The author is who publishes or submits
    it, or starts ``thinksafe run``."""
    authors: tuple[Person, ...] = ()
    """Further authors, such as who changed the values of a chart, whose hook then publishes."""
    identity: Identity | None = None
    """What says who somebody is. ``kubernetes``: the Kubernetes API confirms it, with the name from OIDC where the
    cluster has that. ``system``: the user of the machine, which nobody confirms. By default ``kubernetes`` where the
    configuration has the section ``cluster``."""
    waivers: Literal["anyone", "approvers"] = "anyone"
    """``approvers``: the person of a waiver must be in ``by``, and a waiver that was applied needs this person's
    approval."""

    @property
    def seconds(self) -> int:
        """How long a request is open, in seconds."""
        return int(self.expires[:-1]) * {"h": 3600, "d": 86400}[self.expires[-1]]

    @model_validator(mode="after")
    def _enough_people(self) -> ApprovalSettings:
        if twice := next((person for person in self.by if self.by.count(person) > 1), None):
            raise ValueError(f"by names {twice!r} twice")
        able = [person for person in self.by if not (self.distinct_from_author and person in self.authors)]
        if self.required > len(able):
            raise ValueError(f"required is {self.required}, but by names {len(able)} people whose approval counts")
        return self


class PromotionSettings(Section):
    """What stands between a candidate that the gate passed and its promotion."""

    approval: ApprovalSettings = ApprovalSettings()
    webhook_env: Annotated[str, Field(pattern=r"^([A-Z][A-Z0-9_]*)?$")] = ""
    """Environment variable with the address that gets, as JSON (POST), that a candidate awaits approval or was
    rejected; empty for none. The address is often a secret, so it is never part of a config."""

    def demanded(self, *, on_cluster: bool) -> PromotionSettings | None:
        """Return the settings with the kind of identity filled in; None where no approval is required."""
        if not self.approval.required:
            return None
        identity = self.approval.identity or ("kubernetes" if on_cluster else "system")
        return self.model_copy(update={"approval": self.approval.model_copy(update={"identity": identity})})


def check_waivers(approval: ApprovalSettings, waivers: Iterable[Waiver]) -> None:
    """Raise ValueError for a waiver of somebody who is no approver, where waivers are for approvers only."""
    if not approval.required or approval.waivers == "anyone":
        return
    for waiver in waivers:
        if waiver.person not in approval.by:
            raise ValueError(
                f"promotion.approval.waivers is approvers, but {waiver.person!r}, who waives {waiver.check}, is not in "
                "promotion.approval.by"
            )
