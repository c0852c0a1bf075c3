"""The promote component: decision to the champion."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def promote(
        plan: dsl.Input[dsl.Artifact],
        decision: dsl.Input[dsl.Artifact],
        registration: dsl.Input[dsl.Artifact],
        candidate: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        promotion: dsl.Output[dsl.Artifact],
        passed: dsl.OutputPath(bool),
        artifacts: str,
    ):
        """Append the promotion to the ledger, then make the alias champion follow it.

        Args:
            plan: Plan of the run.
            decision: Decision of the gate.
            registration: Registration of the candidate.
            candidate: Reference of the candidate.
            champion: Reference of the current champion.
            promotion: The ledger entry, as JSON.
            passed: Whether a rollout follows.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "promote", task="promote", plan=plan.path, artifacts=artifacts,
            decision=decision.path, registration=registration.path, candidate=candidate.path,
            champion=champion.path, promotion_out=promotion.path, passed_out=passed,
        )

    return promote
