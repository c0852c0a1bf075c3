"""The curate component: samples and verdicts to examples."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def curate(
        plan: dsl.Input[dsl.Artifact],
        samples: dsl.Input[dsl.Dataset],
        verdicts: dsl.Input[dsl.Dataset],
        examples: dsl.Output[dsl.Dataset],
        decision: dsl.Output[dsl.Artifact],
        passed: dsl.OutputPath(bool),
        artifacts: str,
        method: str = "",
        in_round: str = "",
    ):
        """Keep the samples that are complete and safe, and that refuse or comply as they should.

        Args:
            plan: Plan of the run.
            samples: Manifest of the training samples.
            verdicts: Manifest of their verdicts.
            examples: Training examples, as JSON Lines.
            decision: Whether there are enough to train on, as JSON.
            passed: Whether every check passes.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
            in_round: What the task's name ends in, in a round before the last one (``-round1``).
        """
        return stage_container(
            image, "curate", task=f"curate{in_round}", plan=plan.path, artifacts=artifacts, method=method,
            samples=samples.path, verdicts=verdicts.path, examples_out=examples.path,
            decision_out=decision.path, passed_out=passed,
        )

    return curate
