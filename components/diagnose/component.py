"""The diagnose component: pilot samples and verdicts to a diagnosis."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def diagnose(
        plan: dsl.Input[dsl.Artifact],
        samples: dsl.Input[dsl.Dataset],
        verdicts: dsl.Input[dsl.Dataset],
        diagnosis: dsl.Output[dsl.Artifact],
        safety_context: dsl.Output[dsl.Artifact],
        passed: dsl.OutputPath(bool),
        artifacts: str,
        method: str = "",
    ):
        """Decide from a pilot whether the model has latent safety knowledge to bring out.

        Args:
            plan: Plan of the run.
            samples: Manifest of the pilot samples.
            verdicts: Manifest of their verdicts.
            diagnosis: The decision, as JSON.
            safety_context: The context that training uses, as JSON, if the method searches for one.
            passed: Whether the run continues.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
        """
        return stage_container(
            image, "diagnose", task="diagnose", plan=plan.path, artifacts=artifacts, method=method,
            samples=samples.path, verdicts=verdicts.path, diagnosis_out=diagnosis.path,
            safety_context_out=safety_context.path, passed_out=passed,
        )

    return diagnose
