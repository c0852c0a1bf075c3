"""The plan component: configuration to the plan of a run."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def plan(
        config: str,
        overrides: str,
        job_id: str,
        plan: dsl.Output[dsl.Artifact],
        base: dsl.Output[dsl.Artifact],
        champion: dsl.Output[dsl.Artifact],
        shards_training: dsl.OutputPath(list),
        shards_evaluation: dsl.OutputPath(list),
        shards_champion: dsl.OutputPath(list),
        artifacts: str,
        run_id: str,
    ):
        """Validate the configuration and make the plan of the run, with one section per stage.

        Args:
            config: Configuration: YAML text, path or recipe name.
            overrides: JSON list of key=value texts that replace settings.
            job_id: KFP's job id, which is the run id if none is given.
            plan: Plan of the run, as JSON.
            base: Reference of the model to repair, as JSON.
            champion: Reference of the champion, marked absent if there is none.
            shards_training: Shard ids of the training samples.
            shards_evaluation: Shard ids of the evaluation samples of base and candidate.
            shards_champion: Shard ids of the champion's evaluation samples; one if there is no champion.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run id; if empty, the job id.
        """
        return stage_container(
            image, "plan", task="plan", run_id=run_id, artifacts=artifacts, config=config, overrides=overrides,
            job_id=job_id, plan_out=plan.path, base_out=base.path, champion_out=champion.path,
            shards_training_out=shards_training, shards_evaluation_out=shards_evaluation,
            shards_champion_out=shards_champion,
        )

    return plan
