"""How many pods work at once, by section of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thinksafe.config.cluster import ClusterSettings

TRAINING, MEASUREMENT = ("sample_training", "judge_filter"), ("sample_evaluation", "judge_evaluate", "grade")
"""Sections that several pods may work on: ``sampling.parallelism`` and ``evaluation.parallelism``."""


def parallelism_of(config: Mapping[str, Any]) -> dict[str, int]:
    """Return how many pods work at once on a section; one for a section that is not listed.

    Args:
        config: The section ``evaluation`` and, for a realignment, ``sampling``.
    """
    found = dict.fromkeys(MEASUREMENT, config["evaluation"].parallelism)
    if (sampling := config.get("sampling")) is not None:
        found |= dict.fromkeys(TRAINING, sampling.parallelism)
    return found


def with_jobs(cluster: ClusterSettings, config: Mapping[str, Any]) -> ClusterSettings:
    """Return the settings with the sections of the plan on which more than one pod works (``ClusterSettings.wide``).

    For a suite that was taken from a recipe, those of the recipe's training stay.
    """
    wide = {section for section, pods in parallelism_of(config).items() if pods > 1}
    if "sampling" not in config:
        wide |= cluster.wide & set(TRAINING)
    return cluster.with_wide(wide)
