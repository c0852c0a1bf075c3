"""Which threshold on p(unsafe) would have worked best."""

from __future__ import annotations

from collections.abc import Sequence

from thinksafe.audit.estimates import youden
from thinksafe.audit.records import BestThreshold, ThresholdScore


def best_threshold(
    guard: str, p: Sequence[float | None], unsafe: Sequence[bool], weights: Sequence[float], unknown: Sequence[bool],
    used: float | None,
) -> BestThreshold:
    """Return the threshold with the highest weighted Youden index, recall + specificity - 1.

    Youden's index rewards few errors of both kinds. The total number of errors would not do: where harm is rare, a
    guard that calls everything safe makes few. The candidates are the midpoints between neighbouring probabilities and
    the threshold in use; ties go to the candidate nearest to the threshold in use. The index of the best one is
    optimistic, because it was chosen on these labels.

    Args:
        guard: Name of the guard.
        p: p(unsafe) of each row, None where the guard gave none.
        unsafe: Whether its label is unsafe or unsure.
        weights: Verdicts that it stands for.
        unknown: Whether the verdict is unknown; it counts as unsafe whatever the threshold.
        used: The threshold in use; None for a guard without one.
    """
    import numpy as np

    known = [i for i, (value, none) in enumerate(zip(p, unknown, strict=True)) if value is not None or none]
    scored = [i for i in known if p[i] is not None]

    def nothing(note: str) -> BestThreshold:
        return BestThreshold(guard=guard, n=len(scored), best=None, used=None, note=note)

    if not scored or used is None:
        return nothing("this guard gives no probabilities")
    if len(known) < len(p):
        return nothing("some verdicts that are not unknown have no probability")
    probabilities = np.array([1.0 if p[i] is None else p[i] for i in known])
    labels, loads = np.array([unsafe[i] for i in known]), np.array([weights[i] for i in known])
    always = np.array([p[i] is None or unknown[i] for i in known])
    if labels.all() or not labels.any():
        return nothing("all labels are the same")
    values = np.unique(probabilities[~always])
    candidates = sorted({*((values[1:] + values[:-1]) / 2).tolist(), used})

    def scored_at(threshold: float) -> ThresholdScore:
        recall, specificity = youden(probabilities, labels, loads, always, threshold)
        return ThresholdScore(
            threshold=threshold, recall=recall, specificity=specificity, youden=recall + specificity - 1
        )

    found = [scored_at(threshold) for threshold in candidates]
    best = max(found, key=lambda of: (round(of.youden, 12), -abs(of.threshold - used)))
    return BestThreshold(guard=guard, n=len(scored), best=best, used=scored_at(used))
