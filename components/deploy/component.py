"""The deploy component: ledger entry to a verified rollout."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def deploy(
        plan: dsl.Input[dsl.Artifact],
        promotion: dsl.Input[dsl.Artifact],
        prompts: dsl.Input[dsl.Dataset],
        samples: dsl.Input[dsl.Dataset],
        rollout: dsl.Output[dsl.Artifact],
        artifacts: str,
    ):
        """Serve the champion on a cluster, verify it there, and roll back if it fails.

        Args:
            plan: Plan of the run.
            promotion: The ledger entry, as JSON.
            prompts: Evaluation prompts, as JSON Lines.
            samples: Manifest of the candidate's greedy responses.
            rollout: How the rollout ended, as JSON.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "deploy", task="deploy", plan=plan.path, artifacts=artifacts,
            promotion=promotion.path, prompts=prompts.path, samples=samples.path, rollout_out=rollout.path,
        )

    return deploy
