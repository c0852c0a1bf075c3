"""The evaluation pipeline: measure one model, compare it with its last evaluation, raise the alarm if it got worse."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from thinksafe_components.catalog import load_all
from thinksafe_pipelines.evaluation import make_evaluation


def make(image: Callable[[str], str], configure: Callable[[str, Any], None] | None = None) -> Any:
    """Return the pipeline with its images, which are fixed from here on (KFP cannot take them as parameters).

    Args:
        image: Returns the image of a stage; see :mod:`thinksafe_components.images`.
        configure: Gives each task of a stage its settings; see :mod:`thinksafe_pipelines.cluster`.
    """
    stages = load_all(image, configure)
    evaluation = make_evaluation(stages)
    alarm = make_alarm(stages)

    @dsl.pipeline(name="evaluate", description="Measure a model, and raise the alarm if it got worse.")
    def evaluate(
        config: str, model: str = "", fresh: bool = False, overrides: str = "[]", run_id: str = "", artifacts: str = ""
    ):
        """Measure safety, over-refusal and reasoning of a model, and compare them with its last evaluation.

        Args:
            config: Suite, or recipe whose evaluation is taken: YAML text, or the name of a shipped recipe.
            model: champion, models:/NAME@champion, models:/NAME/VERSION or a student; empty takes the suite's.
            fresh: Draw new samples in this run.
            overrides: JSON list of key=value texts that replace settings.
            run_id: Run id; empty takes KFP's job id.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        report = stages.report(job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id)
        with dsl.ExitHandler(report, name="evaluation"):
            planned = stages.plan_evaluation(
                suite=config, overrides=overrides, model_name=model, fresh=fresh,
                job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id,
            ).outputs
            where = {"artifacts": artifacts, "run_id": planned["run"]}
            prompts = stages.prepare(section=planned["prepare"], **where).outputs
            evaluated = evaluation(
                model=planned["model"], prompts=prompts["evaluation"], sample_section=planned["sample_evaluation"],
                judge_section=planned["judge_evaluate"], grade_section=planned["grade"],
                metrics_section=planned["metrics"], role="evaluated", shards=planned["shards_evaluation"], **where,
            )
            compared = stages.compare(
                model=planned["model"], metrics=evaluated.outputs["metrics"], outcomes=evaluated.outputs["outcomes"],
                section=planned["compare"], **where,
            )
            alarm(
                passed=compared.outputs["passed"], decision=compared.outputs["decision"], model=planned["model"],
                section=planned["alarm"], **where,
            )

    return evaluate


def make_alarm(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing unless the comparison failed."""

    @dsl.pipeline(name="alarm-on-regression")
    def alarm_on_regression(
        passed: bool,
        decision: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        section: str,
        artifacts: str,
        run_id: str,
    ):
        with dsl.If(passed == False, name="regressed"):  # noqa: E712 - builds a condition, compares nothing
            stages.alarm(decision=decision, model=model, section=section, artifacts=artifacts, run_id=run_id)

    return alarm_on_regression
