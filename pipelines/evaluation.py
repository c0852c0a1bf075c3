"""Evaluate one model: what base, candidate and champion share, and the samples of an earlier evaluation."""

from types import SimpleNamespace
from typing import Any

from thinksafe_pipelines.sampling import JudgedSamples, judged_samples


def evaluated(stages: SimpleNamespace, model: Any, prompts: Any, *, role: str, **where: Any) -> dict[str, Any]:
    """Add the tasks that sample the evaluation prompts, judge and grade the samples, and compute metrics.

    Returns:
        The outputs ``samples``, ``verdicts``, ``grades``, ``metrics`` and ``outcomes``.
    """
    judged = judged_samples(
        stages, model, prompts, sample="sample_evaluation", judge="judge_evaluate", use=role, **where
    )
    return _measured(stages, judged, role, where)


def evaluated_again(stages: SimpleNamespace, samples: Any, *, role: str, **where: Any) -> dict[str, Any]:
    """Add the tasks that judge, grade and measure samples that there are; outputs as :func:`evaluated`."""
    judged = stages.judge(samples=samples, section="judge_evaluate", use=role, **where)
    return _measured(stages, JudgedSamples(samples, judged.outputs["verdicts"]), role, where)


def _measured(stages: SimpleNamespace, judged: JudgedSamples, role: str, where: dict[str, Any]) -> dict[str, Any]:
    grades = stages.grade(samples=judged.samples, use=role, **where).outputs["grades"]
    measured = stages.metrics(samples=judged.samples, verdicts=judged.verdicts, grades=grades, role=role, **where)
    return {
        "samples": judged.samples, "verdicts": judged.verdicts, "grades": grades,
        **{name: measured.outputs[name] for name in ("metrics", "outcomes")},
    }
