"""Run checks one after the other, each for a limited time; an error in one never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from thinksafe.deadlines import within
from thinksafe.errors import ThinkSafeError

Status = Literal["ok", "warning", "failed"]
LIMIT = 30.0
"""Time limit of one check, in seconds."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    status: Status
    """``warning``: it could not be checked, or does not necessarily prevent a run."""
    message: str
    action: str = ""
    """The corrective action; empty if the check passed."""


Check = tuple[str, Callable[[], Iterable[Finding]]]
"""Name of a check, and the function that returns its findings."""


def ok(check: str, message: str) -> Finding:
    """Return the finding of a passed check."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, action: str) -> Finding:
    """Return a finding that does not necessarily prevent a run."""
    return Finding(check, "warning", message, action)


def failed(check: str, message: str, action: str) -> Finding:
    """Return a finding that prevents a run."""
    return Finding(check, "failed", message, action)


def _found(check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    return list(check())


def findings(checks: Iterable[Check], limit: float = LIMIT) -> Iterator[Finding]:
    """Yield the findings of checks as they arrive; an error becomes a finding and does not stop the next check."""
    for name, check in checks:
        try:
            yield from within(limit, partial(_found, check))
        except ThinkSafeError as error:
            yield failed(name, error.problem, error.action)
        except TimeoutError:
            yield failed(
                name, f"No answer within {limit:.0f} s.", "Check the address, the network policy and the proxy."
            )
        except Exception as error:
            yield failed(
                name, f"The check itself failed ({type(error).__name__}).",
                "Set THINKSAFE_DEBUG=1 and check what the server answers.",
            )
