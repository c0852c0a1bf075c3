"""The sample component: prompts to samples."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def sample(
        plan: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        prompts: dsl.Input[dsl.Dataset],
        samples: dsl.Output[dsl.Dataset],
        section: str,
        use: str,
        artifacts: str,
        method: str = "",
    ):
        """Draw a model's responses to prompts, steered or plain as the section says.

        Args:
            plan: Plan of the run.
            model: Reference of the model, as JSON.
            prompts: Prompts, as JSON Lines.
            samples: Manifest of the samples.
            section: Section of the plan.
            use: What the samples are for: pilot, training-round1, training, base, candidate, champion or rollout.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
        """
        return stage_container(
            image, "sample", task=f"sample-{use}", plan=plan.path, artifacts=artifacts, method=method,
            section=section, model=model.path, prompts=prompts.path,
            samples_out=samples.path,
        )

    return sample
