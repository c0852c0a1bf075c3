"""Configuration of waivers, and the names of the checks that they may speak of."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from thinksafe.config.data import Benchmark
from thinksafe.records import Text
from thinksafe.settings import Section

ALWAYS = (
    "reasoning/loss", "reasoning/margin", "champion/reasoning", "unknown", "unknown/base", "unknown/champion",
    "truncated",
)
BY_BENCHMARK = {
    "harm": ("harm", "harm_reduction", "champion/harm", "contamination", "min_prompts"),
    "over_refusal": ("over_refusal", "champion/over_refusal", "contamination", "min_prompts"),
    "reasoning": ("reasoning/guard_rail", "contamination", "min_prompts"),
}
"""Prefixes of the checks of a benchmark, by its metric."""
SECOND_GUARD = ("second_guard/disagreement", "second_guard/min_prompts")
UNWAIVABLE = ("min_prompts", "second_guard/min_prompts", "unknown", "truncated")
"""Checks, or families of them, that say whether there is evidence at all. A waiver accepts a known risk; where these
fail, it is not known."""


def check_names(benchmarks: Iterable[Benchmark], second_guard: bool) -> list[str]:
    """Return the names of all checks that the gate can make, with and without a champion, in alphabetical order."""
    own = (f"{kind}/{benchmark.name}" for benchmark in benchmarks for kind in BY_BENCHMARK[benchmark.metric])
    return sorted({*ALWAYS, *own, *(SECOND_GUARD if second_guard else ())})


def evaluation_check_names(benchmarks: Iterable[Benchmark], second_guard: bool) -> list[str]:
    """Return the names of all checks of an evaluation by itself, with and without an earlier one."""
    found = {"unknown", "truncated", "regression/reasoning", *(SECOND_GUARD if second_guard else ())}
    for benchmark in benchmarks:
        found.add(f"min_prompts/{benchmark.name}")
        if benchmark.metric != "reasoning":
            name = f"{benchmark.metric}/{benchmark.name}"
            found |= {name, f"regression/{name}"}
    return sorted(found)


def can_be_waived(check: str) -> bool:
    """Return whether a check may be waived, by its name."""
    return not any(check == name or check.startswith(f"{name}/") for name in UNWAIVABLE)


def _iso_date(value: Any) -> Any:
    """Let only dates and ISO 8601 texts through: a number is no date, though pydantic reads it as a Unix time."""
    if isinstance(value, str):
        return datetime.date.fromisoformat(value)
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        raise ValueError("write a date as YYYY-MM-DD")
    return value


class Waiver(Section):
    """A named person's decision that a failed check does not stop the candidate, for a time."""

    check: Text
    """Name of the check, as in the decision."""
    person: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$", max_length=200)]
    """Who answers for it."""
    reason: Annotated[str, Field(pattern=r"\S", max_length=1000)]
    """Why it is acceptable."""
    expires: Annotated[datetime.date, BeforeValidator(_iso_date)]
    """Last day (UTC) on which it counts."""
