"""The plan component: configuration to the plan of a run."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def plan(
        config: str,
        overrides: str,
        author: str,
        job_id: str,
        plan: dsl.Output[dsl.Artifact],
        base: dsl.Output[dsl.Artifact],
        champion: dsl.Output[dsl.Artifact],
        artifacts: str,
        run_id: str,
        rounds: int = 1,
    ):
        """Validate the configuration and make the plan of the run, with one section per stage.

        Args:
            config: Configuration: YAML text, path or recipe name.
            overrides: JSON list of key=value texts that replace settings.
            author: Who published, submitted or started the run; only needed where approval is required.
            job_id: KFP's job id, which is the run id if none is given.
            plan: Plan of the run, as JSON.
            base: Reference of the model to repair, as JSON.
            champion: Reference of the champion, marked absent if there is none.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run id; if empty, the job id.
            rounds: Rounds that the pipeline was compiled for.
        """
        return stage_container(
            image, "plan", task="plan", run_id=run_id, artifacts=artifacts, config=config, overrides=overrides,
            author=author, job_id=job_id, rounds=rounds, plan_out=plan.path, base_out=base.path,
            champion_out=champion.path,
        )

    return plan
