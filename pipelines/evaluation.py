"""Evaluate one model: the sub-pipeline that base, candidate and champion share."""

from types import SimpleNamespace
from typing import Any, NamedTuple

from kfp import dsl


class Evaluation(NamedTuple):
    """Outputs of the sub-pipeline."""

    metrics: dsl.Metrics
    outcomes: dsl.Dataset


def make_evaluation(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that samples the evaluation prompts, judges and grades them, and computes metrics."""

    @dsl.pipeline(name="evaluation")
    def evaluation(
        plan: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        prompts: dsl.Input[dsl.Dataset],
        role: str,
        shards: list,
        artifacts: str,
    ) -> Evaluation:
        where = {"plan": plan, "artifacts": artifacts}
        with dsl.ParallelFor(items=shards, name="shards") as shard:
            part = {"use": role, "shard": shard, **where}
            sample = stages.sample(model=model, prompts=prompts, section="sample_evaluation", **part)
            judge = stages.judge(samples=sample.outputs["samples"], section="judge_evaluate", **part)
            grade = stages.grade(samples=sample.outputs["samples"], **part)
        rows = {"samples": sample, "verdicts": judge, "grades": grade}
        whole = {
            kind: stages.merge(manifests=dsl.Collected(task.outputs[kind]), kind=kind, use=role)
            for kind, task in rows.items()
        }
        metrics = stages.metrics(**{kind: task.outputs["merged"] for kind, task in whole.items()}, role=role, **where)
        return Evaluation(metrics=metrics.outputs["metrics"], outcomes=metrics.outputs["outcomes"])

    return evaluation
