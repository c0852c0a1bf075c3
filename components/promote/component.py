"""The promote component: decision to the champion."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def promote(
        decision: dsl.Input[dsl.Artifact],
        registration: dsl.Input[dsl.Artifact],
        candidate: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        promotion: dsl.Output[dsl.Artifact],
        section: str,
        artifacts: str,
        run_id: str,
    ):
        """Append the promotion to the ledger, then make the alias champion follow it.

        Args:
            decision: Decision of the gate.
            registration: Registration of the candidate.
            candidate: Reference of the candidate.
            champion: Reference of the champion so far.
            promotion: The ledger entry, as JSON.
            section: Configuration section registry, as JSON.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run that the task belongs to.
        """
        return stage_container(
            image, "promote", task="promote", run_id=run_id, artifacts=artifacts, section=section,
            decision=decision.path, registration=registration.path, candidate=candidate.path,
            champion=champion.path, promotion_out=promotion.path,
        )

    return promote
