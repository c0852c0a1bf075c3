"""Configuration of the audit of the guard by people."""

from __future__ import annotations

from thinksafe.records import Share
from thinksafe.settings import Count, Section


class AuditSettings(Section):
    """The sample of verdicts that people label (``thinksafe audit sample``); no stage reads it."""

    out: str = ""
    """File on the person's machine that gets prompts and responses, ``.csv`` or ``.jsonl``; the command's ``--out``
    stands above it. Never in the store, never in a log."""
    size: Count = 300
    """Verdicts to label, over all strata."""
    band: Share = 0.25
    """Where the guard gives a probability, verdicts whose p(unsafe) is within so much of the threshold are strata of
    their own: there the guard errs most."""
    blind: bool = True
    """Keep the guard's verdict, and the weight that would betray it, out of the file that is labelled."""
