"""The due component: is there anything new since the champion was made?"""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def due(
        plan: dsl.Input[dsl.Artifact],
        contamination: dsl.Input[dsl.Artifact],
        passed: dsl.OutputPath(bool),
        if_changed: bool,
        artifacts: str,
    ):
        """Compare the inputs of the run with those that the champion was made from.

        Args:
            plan: Plan of the run.
            contamination: Contamination report; shows that prepare has finished.
            passed: Whether the run continues.
            if_changed: Continue only if something is new; otherwise always.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "due", task="due", plan=plan.path, artifacts=artifacts, if_changed=if_changed,
            contamination=contamination.path, passed_out=passed,
        )

    return due
