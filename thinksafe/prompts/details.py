"""The details that prepare records (:mod:`thinksafe.run.details`)."""

from __future__ import annotations

from thinksafe.prompts.decontamination import Contamination
from thinksafe.records import Count
from thinksafe.run.details import Details, Lenient


class PromptSetRow(Lenient):
    """One set of prompts that prepare wrote."""

    name: str
    use: str
    label: str = ""
    rows: Count
    digest: str = ""


class PrepareDetails(Details):
    """Of prepare."""

    sets: tuple[PromptSetRow, ...] = ()
    dropped: dict[str, int] = {}
    """Training prompts that were left out, by reason."""
    contamination: Contamination | None = None
