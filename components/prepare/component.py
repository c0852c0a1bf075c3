"""The prepare component: prompt sources to labelled prompts."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def prepare(
        plan: dsl.Input[dsl.Artifact],
        pilot: dsl.Output[dsl.Dataset],
        training: dsl.Output[dsl.Dataset],
        evaluation: dsl.Output[dsl.Dataset],
        contamination: dsl.Output[dsl.Artifact],
        artifacts: str,
    ):
        """Collect, label, deduplicate and decontaminate the prompts of a run.

        Args:
            plan: Plan of the run.
            pilot: Harmful training prompts for the diagnosis.
            training: Prompts for the training samples.
            evaluation: Prompts of the evaluation suite.
            contamination: Overlap of the training prompts with the benchmarks, as JSON.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "prepare", task="prepare", plan=plan.path, artifacts=artifacts,
            pilot_out=pilot.path, training_out=training.path, evaluation_out=evaluation.path,
            contamination_out=contamination.path,
        )

    return prepare
