"""From stage records to one :class:`RunSummary`, which the report page, the terminal and published files show.

Pure: it reads no store and no clock. Anything may be missing, because the report is also written for runs that failed
at their first stage. ``RunSummary.problems`` names what exists but cannot be read.
"""

from __future__ import annotations

from thinksafe.report.summary.build import summarise
from thinksafe.report.summary.model import RunSummary, of_kind, published, reasoning_average

__all__ = ["RunSummary", "of_kind", "published", "reasoning_average", "summarise"]
