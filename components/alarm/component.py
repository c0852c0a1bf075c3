"""The alarm component: report a regression, and fail."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def alarm(
        plan: dsl.Input[dsl.Artifact],
        decision: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        artifacts: str,
    ):
        """Report a regression and fail, so that the run is shown as failed. No alias is moved.

        Args:
            plan: Plan of the run.
            decision: Decision of monitor.
            model: Reference of the model.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "alarm", task="alarm", plan=plan.path, artifacts=artifacts, decision=decision.path,
            model=model.path,
        )

    return alarm
