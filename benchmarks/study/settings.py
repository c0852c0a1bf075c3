"""How large a study is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).with_name("recipe.yaml")
COMPARED = Path(__file__).parents[2] / "configs" / "micro-compare.yaml"
CONFIDENCE = 0.9
"""Of each interval in the tables, two-sided; those of the claims hold together."""


CONTEXTS = ("risk", "careful-assistant")
"""Safety contexts with which self-distillation is compared, besides the one that its search finds. With the student
that ships they turn 44 and 12 % of unsafe responses safe, the one found 100 % (docs/methods.md)."""

ROUNDS = {"name": "rounds", "overrides": {"sampling": {"rounds": 2}}}
"""Thinksafe, with a second round of samples by the candidate of the first."""


def in_context(name: str) -> str:
    """Return the name of self-distillation in a fixed context."""
    return f"opsa-{name}"


def compared() -> dict[str, Any]:
    """Return the recipe with its methods: those of micro-compare, two rounds, and self-distillation in ``CONTEXTS``."""
    import yaml

    document: dict[str, Any] = yaml.safe_load(RECIPE.read_text("utf-8"))
    listed: list[dict[str, Any]] = yaml.safe_load(COMPARED.read_text("utf-8"))["compare"]
    of = next(method for method in listed if method["name"] == "self-distillation")
    fixed = [
        {"name": in_context(name), "overrides": {"method": of["overrides"]["method"] | {"context": name}}}
        for name in CONTEXTS
    ]
    return document | {"compare": [*listed, ROUNDS, *fixed]}


@dataclass(frozen=True)
class Settings:
    """Students and seeds."""

    students: int = 5
    """Students of one configuration, of the seeds 1, 2 ...; the first is the one that ships."""
    seeds: int = 3
    """Seeds of the recipe (sampling, order of the data, adapter) for each student."""

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Student and seed of each comparison; all students get their first seed before one gets the second."""
        return [(student, seed) for seed in range(1, self.seeds + 1) for student in range(1, self.students + 1)]
