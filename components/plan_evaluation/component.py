"""The plan_evaluation component: suite and model to the plan of an evaluation."""

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
        plan: dsl.Output[dsl.Artifact],
        model: dsl.Output[dsl.Artifact],
        previous: dsl.Output[dsl.Dataset],
        passed: dsl.OutputPath(bool),
        artifacts: str,
        run_id: str,
    ):
        """Validate a suite, find the model, and make the plan of the evaluation, with one section per stage.

        Args:
            suite: Suite: YAML text, path or recipe name.
            overrides: JSON list of key=value texts that replace settings.
            model_name: champion, models:/NAME@champion, models:/NAME/VERSION or a student; if empty, the suite's.
            fresh: Draw new samples in this run.
            if_champion: End with nothing to do if the champion is requested and there is none yet.
            job_id: KFP's job id, which is the run id if none is given.
            plan: Plan of the run, as JSON.
            model: Reference of the model, as JSON.
            previous: Manifest of the samples of its last evaluation, to be measured again.
            passed: Whether the run continues.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run id; if empty, the job id.
        """
        return stage_container(
            image, "plan_evaluation", task="plan", run_id=run_id, artifacts=artifacts, suite=suite,
            overrides=overrides, model=model_name, fresh=fresh, if_champion=if_champion, job_id=job_id,
            plan_out=plan.path, model_out=model.path, previous_out=previous.path, passed_out=passed,
        )

    return plan_evaluation
