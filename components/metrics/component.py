"""The metrics component: verdicts and grades to metrics."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def metrics(
        plan: dsl.Input[dsl.Artifact],
        samples: dsl.Input[dsl.Dataset],
        verdicts: dsl.Input[dsl.Dataset],
        grades: dsl.Input[dsl.Dataset],
        metrics: dsl.Output[dsl.Metrics],
        outcomes: dsl.Output[dsl.Dataset],
        role: str,
        artifacts: str,
        method: str = "",
    ):
        """Compute the metrics of one model on the evaluation suite, with their intervals.

        Args:
            plan: Plan of the run.
            samples: Manifest of the evaluation samples.
            verdicts: Manifest of their verdicts.
            grades: Manifest of their grades.
            metrics: The metric set, as JSON.
            outcomes: Outcome of each prompt, as JSON Lines, for paired comparisons.
            role: Which model it is: base, candidate, champion, evaluated or previous.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
        """
        return stage_container(
            image, "metrics", task=f"metrics-{role}", plan=plan.path, artifacts=artifacts, method=method,
            role=role, samples=samples.path, verdicts=verdicts.path, grades=grades.path,
            metrics_out=metrics.path, outcomes_out=outcomes.path,
        )

    return metrics
