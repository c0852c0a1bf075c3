"""The realignment pipeline: repair a model from its own samples, and promote the adapter if the gate passes.

The number of rounds is fixed when compiling. A deciding stage outputs a flag, and the stages after it are in a
condition on that flag, one inside the other.
"""

from types import SimpleNamespace
from typing import Any

from kfp import dsl

from thinksafe_components.catalog import Setting, load_all
from thinksafe_pipelines.evaluation import evaluated
from thinksafe_pipelines.rounds import trained, training_samples
from thinksafe_pipelines.sampling import judged_samples


def make(setting: Setting, rounds: int = 1) -> Any:
    """Return the pipeline for a place.

    Args:
        setting: Where it runs; its images are fixed from here on (KFP cannot take them as parameters).
        rounds: How often it samples and trains (``sampling.rounds``).
    """
    stages = load_all(setting)
    compiled = {"rounds": rounds} if rounds > 1 else {}

    @dsl.pipeline(name="realign", description="Repair the safety of a reasoning model from its own samples.")
    def realign(
        config: str, overrides: str = "[]", author: str = "", run_id: str = "", artifacts: str = "",
        if_changed: bool = False,
    ):
        """Repair the safety of a reasoning model from its own samples.

        Args:
            config: Configuration: YAML text, or the name of a shipped recipe.
            overrides: JSON list of key=value texts that replace settings.
            author: Who published, submitted or started the run; needed where the author's approval does not count.
            run_id: Run id; empty takes KFP's job id.
            artifacts: Store root: a folder or s3://bucket/prefix.
            if_changed: End with nothing to do where the champion was made from the same inputs.
        """
        report = stages.report(job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id)
        with dsl.ExitHandler(report, name="realignment"):
            planned = stages.plan(
                config=config, overrides=overrides, author=author, job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                artifacts=artifacts, run_id=run_id, **compiled,
            ).outputs
            where = {"plan": planned["plan"], "artifacts": artifacts}
            prompts = stages.prepare(**where).outputs
            due = stages.due(contamination=prompts["contamination"], if_changed=if_changed, **where)
            with dsl.If(due.outputs["passed"] == True, name="is-due"):  # noqa: E712 - builds a condition
                _repair(stages, planned, prompts, rounds, where)

    return realign


def _repair(stages: SimpleNamespace, planned: Any, prompts: Any, rounds: int, where: dict[str, Any]) -> None:
    """Add what a run does that is due: the pilot, and more if the student can be steered."""
    pilot = judged_samples(
        stages, planned["base"], prompts["pilot"], sample="sample_pilot", judge="judge_pilot", use="pilot", **where
    )
    diagnosed = stages.diagnose(samples=pilot.samples, verdicts=pilot.verdicts, **where)
    with dsl.If(diagnosed.outputs["passed"] == True, name="steerable"):  # noqa: E712 - builds a condition
        training = training_samples(
            stages, planned["base"], prompts["training"], number=1, rounds=rounds, **where
        )

        def measured(candidate: Any, examples: Any) -> None:
            _measure_and_judge(stages, planned, prompts, examples, candidate, where)

        trained(
            stages, planned["base"], prompts["training"], training, diagnosed.outputs["safety_context"], measured,
            rounds=rounds, where=where,
        )


def _measure_and_judge(
    stages: SimpleNamespace, planned: Any, prompts: Any, examples: Any, candidate: Any, where: dict[str, Any]
) -> None:
    """Add registration, evaluation and gate, and more if the gate passes."""
    registration = stages.register(candidate=candidate, examples=examples, **where).outputs["registration"]
    models = {"base": planned["base"], "candidate": candidate, "champion": planned["champion"]}
    measured = {
        f"{role}_{kind}": output
        for role, model in models.items()
        for kind, output in evaluated(stages, model, prompts["evaluation"], role=role, **where).items()
        if kind in ("metrics", "outcomes")
    }
    decided = stages.gate(
        **measured, contamination=prompts["contamination"], registration=registration, **where
    ).outputs
    with dsl.If(decided["passed"] == True, name="passed"):  # noqa: E712 - builds a condition
        promoted = stages.promote(
            decision=decided["decision"], registration=registration, candidate=candidate,
            champion=planned["champion"], **where,
        ).outputs
        with dsl.If(promoted["passed"] == True, name="rolled-out"):  # noqa: E712 - builds a condition
            greedy = stages.sample(
                model=candidate, prompts=prompts["evaluation"], section="sample_rollout", use="rollout", **where
            )
            stages.deploy(
                promotion=promoted["promotion"], prompts=prompts["evaluation"], samples=greedy.outputs["samples"],
                **where,
            )
