"""The sample component: prompts to samples, one shard."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def sample(
        model: dsl.Input[dsl.Artifact],
        prompts: dsl.Input[dsl.Dataset],
        samples: dsl.Output[dsl.Dataset],
        section: str,
        use: str,
        shard: str,
        shards: list,
        artifacts: str,
        run_id: str,
    ):
        """Draw one shard of a model's responses to prompts, steered or plain as the section says.

        Args:
            model: Reference of the model, as JSON.
            prompts: Prompts, as JSON Lines.
            samples: Manifest of the shard's samples.
            section: Configuration section of this use of sample, as JSON.
            use: What the samples are for: pilot, training, base, candidate, champion or rollout.
            shard: Shard id.
            shards: All shard ids; their number decides which prompts belong to the shard.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run that the task belongs to.
        """
        return stage_container(
            image, "sample", task=f"sample-{use}-{shard}", run_id=run_id, artifacts=artifacts,
            section=section, model=model.path, prompts=prompts.path, shard=shard, shards=shards,
            samples_out=samples.path,
        )

    return sample
