"""Sample, judge and merge over shards: the sub-pipeline behind pilot and training samples."""

from types import SimpleNamespace
from typing import Any, NamedTuple

from kfp import dsl


class JudgedSamples(NamedTuple):
    """Outputs of the sub-pipeline."""

    samples: dsl.Dataset
    verdicts: dsl.Dataset


def make_judged_samples(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that draws samples and judges them.

    The shard ids are a separate input, because ``kfp.local`` cannot loop over another task's output directly.
    """

    @dsl.pipeline(name="judged-samples")
    def judged_samples(
        plan: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        prompts: dsl.Input[dsl.Dataset],
        section: str,
        use: str,
        shards: list,
        artifacts: str,
    ) -> JudgedSamples:
        with dsl.ParallelFor(items=shards, name="shards") as shard:
            part = {"plan": plan, "use": use, "shard": shard, "artifacts": artifacts}
            sample = stages.sample(model=model, prompts=prompts, section=section, **part)
            judge = stages.judge(samples=sample.outputs["samples"], section="judge_filter", **part)
        samples = stages.merge(manifests=dsl.Collected(sample.outputs["samples"]), kind="samples", use=use)
        verdicts = stages.merge(manifests=dsl.Collected(judge.outputs["verdicts"]), kind="verdicts", use=use)
        return JudgedSamples(samples=samples.outputs["merged"], verdicts=verdicts.outputs["merged"])

    return judged_samples
