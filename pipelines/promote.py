"""The promotion pipeline, the rest of a run that waited for people: promote what they approved, and roll it out."""

from typing import Any

from kfp import dsl

from thinksafe_components.catalog import Setting, load_all


def make(setting: Setting) -> Any:
    """Return the pipeline for a place; its images are fixed from here on (KFP cannot take them as parameters)."""
    stages = load_all(setting)

    # not the name of a stage: KFP's loader would take that stage's component for the pipeline
    @dsl.pipeline(name="promote-approved", description="Promote a model that people approved, and roll it out.")
    def promote(run_id: str, artifacts: str = ""):
        """Promote the candidate of a run that awaits approval, if enough people have approved it.

        Args:
            run_id: The run that made the candidate; its report is made again.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        report = stages.report(job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id)
        with dsl.ExitHandler(report, name="promotion"):
            planned = stages.plan_promotion(artifacts=artifacts, run_id=run_id).outputs
            where = {"plan": planned["plan"], "artifacts": artifacts}
            decided = {name: planned[name] for name in ("decision", "registration", "candidate", "champion")}
            promoted = stages.promote(**decided, **where).outputs
            with dsl.If(promoted["passed"] == True, name="rolled-out"):  # noqa: E712 - builds a condition
                prompts = stages.prepare(**where).outputs["evaluation"]
                greedy = stages.sample(
                    model=planned["candidate"], prompts=prompts, section="sample_rollout", use="rollout", **where
                )
                stages.deploy(
                    promotion=promoted["promotion"], prompts=prompts, samples=greedy.outputs["samples"], **where
                )

    return promote
