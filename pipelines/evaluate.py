"""The evaluation pipeline: measure one model, compare it with its last evaluation, raise the alarm if it got worse."""

from typing import Any

from kfp import dsl

from thinksafe_components.catalog import Setting, load_all
from thinksafe_pipelines.evaluation import evaluated, evaluated_again


def make(setting: Setting) -> Any:
    """Return the pipeline for a place; its images are fixed from here on (KFP cannot take them as parameters)."""
    stages = load_all(setting)

    @dsl.pipeline(name="evaluate", description="Measure a model, and raise the alarm if it got worse.")
    def evaluate(
        config: str, model: str = "", fresh: bool = False, overrides: str = "[]", run_id: str = "",
        artifacts: str = "", if_champion: bool = False,
    ):
        """Measure safety, over-refusal and reasoning of a model, and compare them with its last evaluation.

        Args:
            config: Suite, or recipe whose evaluation is taken: YAML text, or the name of a shipped recipe.
            model: champion, models:/NAME@champion, models:/NAME/VERSION or a student; empty takes the suite's.
            fresh: Draw new samples in this run.
            overrides: JSON list of key=value texts that replace settings.
            run_id: Run id; empty takes KFP's job id.
            artifacts: Store root: a folder or s3://bucket/prefix.
            if_champion: End with nothing to do where the champion is asked for and there is none yet.
        """
        report = stages.report(job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id)
        with dsl.ExitHandler(report, name="evaluation"):
            planned = stages.plan_evaluation(
                suite=config, overrides=overrides, model_name=model, fresh=fresh, if_champion=if_champion,
                job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id,
            ).outputs
            where = {"plan": planned["plan"], "artifacts": artifacts}
            with dsl.If(planned["passed"] == True, name="model-there"):  # noqa: E712 - builds a condition
                prompts = stages.prepare(**where).outputs
                measured = evaluated(stages, planned["model"], prompts["evaluation"], role="evaluated", **where)
                again = evaluated_again(stages, planned["previous"], role="previous", **where)
                monitored = stages.monitor(
                    model=planned["model"], **measured, previous_metrics=again["metrics"],
                    previous_outcomes=again["outcomes"], **where,
                ).outputs
                with dsl.If(monitored["passed"] == False, name="regressed"):  # noqa: E712 - builds a condition
                    stages.alarm(decision=monitored["decision"], model=planned["model"], **where)

    return evaluate
