"""The evaluation pipeline: metrics of one model, with the sub-pipeline that the realignment uses."""

from typing import Any

from kfp import dsl

from thinksafe_components.catalog import load_all
from thinksafe_pipelines.evaluation import make_evaluation


def make(image: str) -> Any:
    """Return the pipeline for an image, which is fixed from here on (KFP cannot take it as a parameter)."""
    stages = load_all(image)
    evaluation = make_evaluation(stages)

    @dsl.pipeline(name="evaluate", description="Measure a model's safety, over-refusal and reasoning.")
    def evaluate(config: str, overrides: str = "[]", run_id: str = "", artifacts: str = ""):
        """Measure the safety, over-refusal and reasoning of the configuration's student.

        Args:
            config: Configuration: YAML text, or the name of a shipped recipe.
            overrides: JSON list of key=value texts that replace settings.
            run_id: Run id; empty takes KFP's job id.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        report = stages.report(job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id)
        with dsl.ExitHandler(report, name="evaluation"):
            planned = stages.plan(
                config=config, overrides=overrides, job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts,
                run_id=run_id,
            ).outputs
            where = {"artifacts": artifacts, "run_id": planned["run"]}
            prompts = stages.prepare(section=planned["prepare"], **where).outputs
            evaluation(
                model=planned["base"], prompts=prompts["evaluation"], sample_section=planned["sample_evaluation"],
                judge_section=planned["judge_evaluate"], grade_section=planned["grade"],
                metrics_section=planned["metrics"], role="base", shards=planned["shards_evaluation"], **where,
            )

    return evaluate
