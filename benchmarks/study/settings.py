"""How large a study is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RECIPE = Path(__file__).with_name("recipe.yaml")
CONFIDENCE = 0.9
"""Of each interval in the tables, two-sided; those of the claims hold together."""


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
