"""The deploy component: ledger entry to a verified rollout."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def deploy(
        promotion: dsl.Input[dsl.Artifact],
        prompts: dsl.Input[dsl.Dataset],
        samples: dsl.Input[dsl.Dataset],
        rollout: dsl.Output[dsl.Artifact],
        section: str,
        artifacts: str,
        run_id: str,
    ):
        """Serve the champion on a cluster, verify it there, and roll back where it fails.

        Args:
            promotion: The ledger entry, as JSON.
            prompts: Evaluation prompts, as JSON Lines.
            samples: Manifest of the candidate's greedy responses.
            rollout: How the rollout ended, as JSON.
            section: Configuration section deploy, as JSON.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run that the task belongs to.
        """
        return stage_container(
            image, "deploy", task="deploy", run_id=run_id, artifacts=artifacts, section=section,
            promotion=promotion.path, prompts=prompts.path, samples=samples.path, rollout_out=rollout.path,
        )

    return deploy
