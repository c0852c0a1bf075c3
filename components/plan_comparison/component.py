"""The plan_comparison component: configuration with several methods to the plan of a comparison."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def plan_comparison(
        config: str,
        overrides: str,
        shared: str,
        job_id: str,
        plan: dsl.Output[dsl.Artifact],
        base: dsl.Output[dsl.Artifact],
        champion: dsl.Output[dsl.Artifact],
        registration: dsl.Output[dsl.Artifact],
        artifacts: str,
        run_id: str,
    ):
        """Validate the configuration of a comparison and make the plan of all its methods.

        Args:
            config: Configuration with a list of methods: YAML text, path or recipe name.
            overrides: JSON list of key=value texts that replace settings.
            shared: What the methods share in the pipeline that runs, as JSON.
            job_id: KFP's job id, which is the run id if none is given.
            plan: Plan of the run, as JSON.
            base: Reference of the model to repair, as JSON.
            champion: Reference of the champion, marked absent if there is none.
            registration: JSON null, since a comparison registers nothing.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run id; if empty, the job id.
        """
        return stage_container(
            image, "plan_comparison", task="plan", run_id=run_id, artifacts=artifacts, config=config,
            overrides=overrides, shared=shared, job_id=job_id, plan_out=plan.path, base_out=base.path,
            champion_out=champion.path, registration_out=registration.path,
        )

    return plan_comparison
