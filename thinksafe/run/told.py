"""An error that one process tells another through the store, as a pod of a job tells the task that started it."""

from __future__ import annotations

from typing import Literal

from thinksafe import errors
from thinksafe.errors import StageError, ThinkSafeError
from thinksafe.records import Record


class ToldError(Record):
    """The error that ended a process."""

    schema_version: Literal[1] = 1
    type: str
    """Class in :mod:`thinksafe.errors`."""
    problem: str
    action: str
    final: bool
    """The work itself failed. False: the process ended because another one did, or so it seems."""

    @classmethod
    def of(cls, error: ThinkSafeError, *, final: bool = True) -> ToldError:
        """Return what to tell about an error."""
        return cls(type=type(error).__name__, problem=error.problem, action=error.action, final=final)

    def error(self) -> ThinkSafeError:
        """Return the error that the process ended with."""
        kind = getattr(errors, self.type, StageError)
        known = isinstance(kind, type) and issubclass(kind, ThinkSafeError)
        raised: ThinkSafeError = (kind if known else StageError)(self.problem, self.action)
        return raised
