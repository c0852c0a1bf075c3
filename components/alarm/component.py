"""The alarm component: tell of a regression, and fail."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def alarm(
        decision: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        section: str,
        artifacts: str,
        run_id: str,
    ):
        """Tell of a regression and fail, so that the run is shown as failed. No alias is moved.

        Args:
            decision: Decision of monitor.
            model: Reference of the model.
            section: Configuration section alarm, as JSON.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run that the task belongs to.
        """
        return stage_container(
            image, "alarm", task="alarm", run_id=run_id, artifacts=artifacts, section=section, decision=decision.path,
            model=model.path,
        )

    return alarm
