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
        """Compare what the run starts from with what the champion was made from.

        Args:
            plan: Plan of the run.
            contamination: Contamination report of prepare, which has to be done.
            passed: Whether the run goes on.
            if_changed: Go on only where something is new; else always.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "due", task="due", plan=plan.path, artifacts=artifacts, if_changed=if_changed,
            contamination=contamination.path, passed_out=passed,
        )

    return due
