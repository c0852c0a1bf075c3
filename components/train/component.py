"""The train component: examples to an adapter, or to all weights."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def train(
        plan: dsl.Input[dsl.Artifact],
        base: dsl.Input[dsl.Artifact],
        examples: dsl.Input[dsl.Dataset],
        safety_context: dsl.Input[dsl.Artifact],
        trained: dsl.Output[dsl.Model],
        candidate: dsl.Output[dsl.Artifact],
        decision: dsl.Output[dsl.Artifact],
        passed: dsl.OutputPath(bool),
        artifacts: str,
        method: str = "",
        in_round: str = "",
    ):
        """Train a LoRA adapter of the base model, or all its weights, on the examples.

        Args:
            plan: Plan of the run.
            base: Reference of the base model, as JSON.
            examples: Training examples, as JSON Lines.
            safety_context: The context that the diagnosis chose, as JSON, if the method searches for one.
            trained: Folder of the adapter, or of the manifest of all weights, which are in the store.
            candidate: Reference of the trained model.
            decision: Whether training changed the model, as JSON.
            passed: Whether it did.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
            in_round: What the task's name ends in, in a round before the last one (``-round1``).
        """
        return stage_container(
            image, "train", task=f"train{in_round}", plan=plan.path, artifacts=artifacts, method=method,
            base=base.path, examples=examples.path, safety_context=safety_context.path, trained_out=trained.path,
            candidate_out=candidate.path, decision_out=decision.path, passed_out=passed,
        )

    return train
