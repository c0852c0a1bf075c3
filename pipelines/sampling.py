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

    It takes the shard ids as an input of its own: ``kfp.local`` cannot loop over another task's output directly. And it
    takes them twice, to loop over and to hand on: KFP's drivers take the list of a loop away from its iterations.
    """

    @dsl.pipeline(name="judged-samples")
    def judged_samples(
        model: dsl.Input[dsl.Artifact],
        prompts: dsl.Input[dsl.Dataset],
        sample_section: str,
        judge_section: str,
        use: str,
        shards: list,
        all_shards: list,
        artifacts: str,
        run_id: str,
    ) -> JudgedSamples:
        common = {"use": use, "artifacts": artifacts, "run_id": run_id}
        with dsl.ParallelFor(items=shards, name="shards") as shard:
            sample = stages.sample(
                model=model, prompts=prompts, section=sample_section, shard=shard, shards=all_shards, **common
            )
            judge = stages.judge(
                samples=sample.outputs["samples"], section=judge_section, shard=shard, **common
            )
        samples = stages.merge(manifests=dsl.Collected(sample.outputs["samples"]), kind="samples", use=use)
        verdicts = stages.merge(manifests=dsl.Collected(judge.outputs["verdicts"]), kind="verdicts", use=use)
        return JudgedSamples(samples=samples.outputs["merged"], verdicts=verdicts.outputs["merged"])

    return judged_samples
