"""The result of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Record:
    """One line of the table."""

    group: str
    name: str
    done: str
    """What was done."""
    expected: str
    repeats: int = 0
    observed: dict[str, int | float | str] = field(default_factory=dict)
    """Figures by name, in the order in which they are shown."""
    problems: list[str] = field(default_factory=list)
    """What was not as expected; a scenario without problems passed."""
    skipped: str = ""
    """Why it could not run here."""
    seconds: float = 0.0
    limited: bool = False
    """Whether the share of repeated work has a limit (``Settings.share``)."""
    outcome: Literal["passed", "failed", "skipped"] = "failed"
    """Set when the scenario ends; a scenario that did nothing has failed."""

    def count(self, name: str, number: int | float = 1) -> None:
        """Add to a figure."""
        value = self.observed.get(name, 0)
        assert not isinstance(value, str)
        self.observed[name] = value + number

    def demand(self, condition: bool, problem: str) -> None:
        """Note a problem unless the condition holds."""
        if not condition:
            self.problems.append(problem)


@contextmanager
def surviving(record: Record, clock: Callable[[], float]) -> Iterator[Record]:
    """Time a scenario; an error in the scenario itself counts as its failure and does not end the others."""
    started = clock()
    try:
        yield record
    except Exception as error:  # whatever it is, it belongs in the table
        text = " ".join(str(error).split())[:300]
        record.problems.append(f"the scenario itself failed: {type(error).__name__}: {text}")
    finally:
        record.seconds = round(clock() - started, 1)
        if record.skipped:
            record.outcome = "skipped"
        elif record.repeats and not record.problems:
            record.outcome = "passed"
