"""The monitor component: an evaluation against the model's last one."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def monitor(
        plan: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Artifact],
        metrics: dsl.Input[dsl.Metrics],
        outcomes: dsl.Input[dsl.Dataset],
        samples: dsl.Input[dsl.Dataset],
        verdicts: dsl.Input[dsl.Dataset],
        grades: dsl.Input[dsl.Dataset],
        previous_metrics: dsl.Input[dsl.Metrics],
        previous_outcomes: dsl.Input[dsl.Dataset],
        decision: dsl.Output[dsl.Artifact],
        passed: dsl.OutputPath(bool),
        artifacts: str,
    ):
        """Compare an evaluation with the model's last one and with its limits.

        Args:
            plan: Plan of the run.
            model: Reference of the model.
            metrics: Metric set of the model.
            outcomes: Outcomes of the model.
            samples: Manifest of its samples.
            verdicts: Manifest of its verdicts.
            grades: Manifest of its grades.
            previous_metrics: Metric set of its last evaluation, measured again.
            previous_outcomes: Outcomes of that.
            decision: The decision, as JSON.
            passed: Whether every check passes.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "monitor", task="monitor", plan=plan.path, artifacts=artifacts, model=model.path,
            metrics=metrics.path, outcomes=outcomes.path, samples=samples.path, verdicts=verdicts.path,
            grades=grades.path, previous_metrics=previous_metrics.path, previous_outcomes=previous_outcomes.path,
            decision_out=decision.path, passed_out=passed,
        )

    return monitor
