"""The plan_evaluation component: suite and model to one section per stage."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def plan_evaluation(
        suite: str,
        overrides: str,
        model_name: str,
        fresh: bool,
        if_champion: bool,
        job_id: str,
        model: dsl.Output[dsl.Artifact],
        run: dsl.OutputPath(str),
        passed: dsl.OutputPath(bool),
        shards_evaluation: dsl.OutputPath(list),
        prepare: dsl.OutputPath(str),
        sample_evaluation: dsl.OutputPath(str),
        judge_evaluate: dsl.OutputPath(str),
        grade: dsl.OutputPath(str),
        metrics: dsl.OutputPath(str),
        monitor: dsl.OutputPath(str),
        alarm: dsl.OutputPath(str),
        artifacts: str,
        run_id: str,
    ):
        """Validate a suite, find the model, and cut the suite into one section per stage.

        Args:
            suite: Suite: YAML text, path or recipe name.
            overrides: JSON list of key=value texts that replace settings.
            model_name: champion, models:/NAME@champion, models:/NAME/VERSION or a student; empty takes the suite's.
            fresh: Draw new samples in this run.
            if_champion: End with nothing to do where the champion is asked for and there is none yet.
            job_id: KFP's job id, the run id when none is given.
            model: Reference of the model, as JSON.
            run: Run id that all other tasks take.
            passed: Whether the run goes on.
            shards_evaluation: Shard ids of the evaluation samples.
            prepare: Section prepare.
            sample_evaluation: Section sample_evaluation.
            judge_evaluate: Section judge_evaluate.
            grade: Section grade.
            metrics: Section metrics.
            monitor: Section monitor.
            alarm: Section alarm.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run id; empty takes the job id.
        """
        return stage_container(
            image, "plan_evaluation", task="plan", run_id=run_id, artifacts=artifacts, suite=suite,
            overrides=overrides, model=model_name, fresh=fresh, if_champion=if_champion, job_id=job_id,
            model_out=model.path, passed_out=passed,
            output=[
                f"run_id={run}", f"shards_evaluation={shards_evaluation}", f"prepare={prepare}",
                f"sample_evaluation={sample_evaluation}", f"judge_evaluate={judge_evaluate}", f"grade={grade}",
                f"metrics={metrics}", f"monitor={monitor}", f"alarm={alarm}",
            ],
        )

    return plan_evaluation
