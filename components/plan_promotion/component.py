"""The plan_promotion component: the records of a run that awaits approval to the inputs of promote and deploy."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def plan_promotion(
        plan: dsl.Output[dsl.Artifact],
        decision: dsl.Output[dsl.Artifact],
        registration: dsl.Output[dsl.Artifact],
        candidate: dsl.Output[dsl.Artifact],
        champion: dsl.Output[dsl.Artifact],
        artifacts: str,
        run_id: str,
    ):
        """Read plan, decision, registration and models of a run that awaits approval from its records.

        Args:
            plan: Plan of the run, as JSON.
            decision: Decision of its gate.
            registration: Registration of its candidate.
            candidate: Reference of the candidate.
            champion: Reference of the champion that the gate compared with, marked absent if there was none.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: The run.
        """
        return stage_container(
            image, "plan_promotion", task="plan-promotion", run_id=run_id, artifacts=artifacts, plan_out=plan.path,
            decision_out=decision.path, registration_out=registration.path, candidate_out=candidate.path,
            champion_out=champion.path,
        )

    return plan_promotion
