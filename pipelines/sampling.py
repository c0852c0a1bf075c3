"""Sample and judge: what pilot, training samples and evaluation share."""

from types import SimpleNamespace
from typing import Any, NamedTuple


class JudgedSamples(NamedTuple):
    """Outputs of the two tasks."""

    samples: Any
    verdicts: Any


def judged_samples(
    stages: SimpleNamespace, model: Any, prompts: Any, *, sample: str, judge: str, use: str, **where: Any
) -> JudgedSamples:
    """Add the tasks that draw samples and judge them.

    Args:
        stages: The components.
        model: Reference of the model.
        prompts: The prompts.
        sample: Section of the plan for the samples.
        judge: Section of the plan for the verdicts.
        use: What the samples are for.
        where: Plan and store.
    """
    samples = stages.sample(model=model, prompts=prompts, section=sample, use=use, **where).outputs["samples"]
    judged = stages.judge(samples=samples, section=judge, use=use, **where)
    return JudgedSamples(samples, judged.outputs["verdicts"])
