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
        configure: Gives each task of a stage its settings; see :mod:`thinksafe_pipelines.kfp.cluster`.
    """
    stages = load_all(image, configure)
    measure_and_monitor = make_measurement(stages)

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
            measure_and_monitor(
                passed=planned["passed"], plan=planned["plan"], model=planned["model"],
                shards_evaluation=planned["shards_evaluation"], artifacts=artifacts,
            )

    return evaluate


def make_measurement(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing unless there is a model to measure."""
    evaluation = make_evaluation(stages)
    alarm_on_regression = make_alarm(stages)

    @dsl.pipeline(name="measure-and-monitor")
    def measure_and_monitor(
        passed: bool,
        plan: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        shards_evaluation: list,
        artifacts: str,
    ):
        where = {"plan": plan, "artifacts": artifacts}
        with dsl.If(passed == True, name="model-there"):  # noqa: E712 - builds a condition, compares nothing
            prompts = stages.prepare(**where).outputs
            evaluated = evaluation(
                model=model, prompts=prompts["evaluation"], role="evaluated", shards=shards_evaluation, **where
            )
            monitored = stages.monitor(
                model=model, metrics=evaluated.outputs["metrics"], outcomes=evaluated.outputs["outcomes"], **where
            )
            alarm_on_regression(
                passed=monitored.outputs["passed"], decision=monitored.outputs["decision"], model=model, **where
            )

    return measure_and_monitor


def make_alarm(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing unless the model got worse."""

    @dsl.pipeline(name="alarm-on-regression")
    def alarm_on_regression(
        passed: bool,
        plan: dsl.Input[dsl.Artifact],
        decision: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        artifacts: str,
    ):
        with dsl.If(passed == False, name="regressed"):  # noqa: E712 - builds a condition, compares nothing
            stages.alarm(plan=plan, decision=decision, model=model, artifacts=artifacts)

    return alarm_on_regression
