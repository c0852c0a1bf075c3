"""Evaluate one model: what base, candidate and champion share."""

from types import SimpleNamespace
from typing import Any

from thinksafe_pipelines.sampling import judged_samples


def evaluated(stages: SimpleNamespace, model: Any, prompts: Any, *, role: str, **where: Any) -> dict[str, Any]:
    """Add the tasks that sample the evaluation prompts, judge and grade the samples, and compute metrics.

    Returns:
        The outputs ``metrics`` and ``outcomes``.
    """
    judged = judged_samples(
        stages, model, prompts, sample="sample_evaluation", judge="judge_evaluate", use=role, **where
    )
    graded = stages.grade(samples=judged.samples, use=role, **where)
    measured = stages.metrics(
        samples=judged.samples, verdicts=judged.verdicts, grades=graded.outputs["grades"], role=role, **where
    )
    return {name: measured.outputs[name] for name in ("metrics", "outcomes")}
