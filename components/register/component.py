"""The register component: adapter or weights to a model version."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def register(
        plan: dsl.Input[dsl.Artifact],
        candidate: dsl.Input[dsl.Artifact],
        examples: dsl.Input[dsl.Dataset],
        registration: dsl.Output[dsl.Artifact],
        artifacts: str,
    ):
        """Register the candidate as a model version with the alias candidate.

        Args:
            plan: Plan of the run.
            candidate: Reference of the candidate, as JSON.
            examples: Examples that it was trained on.
            registration: The registration, as JSON.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "register", task="register", plan=plan.path, artifacts=artifacts,
            candidate=candidate.path, examples=examples.path, registration_out=registration.path,
        )

    return register
