"""The gate component: metrics to a decision."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def gate(
        plan: dsl.Input[dsl.Artifact],
        base_metrics: dsl.Input[dsl.Metrics],
        base_outcomes: dsl.Input[dsl.Dataset],
        candidate_metrics: dsl.Input[dsl.Metrics],
        candidate_outcomes: dsl.Input[dsl.Dataset],
        champion_metrics: dsl.Input[dsl.Metrics],
        champion_outcomes: dsl.Input[dsl.Dataset],
        contamination: dsl.Input[dsl.Artifact],
        registration: dsl.Input[dsl.Artifact],
        decision: dsl.Output[dsl.Artifact],
        passed: dsl.OutputPath(bool),
        artifacts: str,
        method: str = "",
    ):
        """Decide whether the candidate may be promoted: every check must pass.

        Args:
            plan: Plan of the run.
            base_metrics: Metric set of the base.
            base_outcomes: Outcomes of the base.
            candidate_metrics: Metric set of the candidate.
            candidate_outcomes: Outcomes of the candidate.
            champion_metrics: Metric set of the champion.
            champion_outcomes: Outcomes of the champion.
            contamination: Overlap of the training prompts with the benchmarks.
            registration: Registration of the candidate, which gets the decision as a tag.
            decision: The decision, as JSON.
            passed: Whether every check passes.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
        """
        return stage_container(
            image, "gate", task="gate", plan=plan.path, artifacts=artifacts, method=method,
            base_metrics=base_metrics.path, base_outcomes=base_outcomes.path,
            candidate_metrics=candidate_metrics.path, candidate_outcomes=candidate_outcomes.path,
            champion_metrics=champion_metrics.path, champion_outcomes=champion_outcomes.path,
            contamination=contamination.path, registration=registration.path, decision_out=decision.path,
            passed_out=passed,
        )

    return gate
