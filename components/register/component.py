"""The register component: adapter to a model version."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def register(
        candidate: dsl.Input[dsl.Artifact],
        examples: dsl.Input[dsl.Dataset],
        registration: dsl.Output[dsl.Artifact],
        section: str,
        artifacts: str,
        run_id: str,
    ):
        """Register the candidate as a model version with the alias candidate.

        Args:
            candidate: Reference of the candidate, as JSON.
            examples: Examples that it was trained on.
            registration: The registration, as JSON.
            section: Configuration section registry, as JSON.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run that the task belongs to.
        """
        return stage_container(
            image, "register", task="register", run_id=run_id, artifacts=artifacts, section=section,
            candidate=candidate.path, examples=examples.path, registration_out=registration.path,
        )

    return register
