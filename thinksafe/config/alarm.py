"""Configuration of the alarm that a re-evaluation can raise."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from thinksafe.settings import Section


class AlarmSettings(Section):
    """When a re-evaluation counts as a regression, and whom to notify."""

    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.01
    """Level of each one-sided comparison with the last evaluation. Smaller than the gate's, because a schedule repeats
    the comparison, and people soon switch off an alarm that goes off for no reason."""
    webhook_env: Annotated[str, Field(pattern=r"^([A-Z][A-Z0-9_]*)?$")] = ""
    """Environment variable with the address that gets the alarm as JSON (POST); empty for none. The address is often a
    secret, so it is never part of a config."""
