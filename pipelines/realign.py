"""The realignment pipeline: repair a model from its own samples, and promote the adapter if the gate passes.

A deciding stage outputs a flag. The next stages are in a sub-pipeline that has the flag as its input and contains the
condition: ``kfp.local`` silently skips a condition on another task's output.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from thinksafe_components.catalog import load_all
from thinksafe_pipelines.evaluation import make_evaluation
from thinksafe_pipelines.sampling import make_judged_samples


def make(image: Callable[[str], str], configure: Callable[[str, Any], None] | None = None) -> Any:
    """Return the pipeline with its images, which are fixed from here on (KFP cannot take them as parameters).

    Args:
        image: Returns the image of a stage; see :mod:`thinksafe_components.images`.
        configure: Gives each task of a stage its settings; see :mod:`thinksafe_pipelines.kfp.cluster`.
    """
    stages = load_all(image, configure)
    judged_samples = make_judged_samples(stages)
    pilot_and_repair = make_pilot(stages, judged_samples)

    @dsl.pipeline(name="realign", description="Repair the safety of a reasoning model from its own samples.")
    def realign(
        config: str, overrides: str = "[]", run_id: str = "", artifacts: str = "", if_changed: bool = False
    ):
        """Repair the safety of a reasoning model from its own samples.

        Args:
            config: Configuration: YAML text, or the name of a shipped recipe.
            overrides: JSON list of key=value texts that replace settings.
            run_id: Run id; empty takes KFP's job id.
            artifacts: Store root: a folder or s3://bucket/prefix.
            if_changed: End with nothing to do where the champion was made from the same inputs.
        """
        report = stages.report(job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id)
        with dsl.ExitHandler(report, name="realignment"):
            plan = stages.plan(
                config=config, overrides=overrides, job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts,
                run_id=run_id,
            )
            planned = plan.outputs
            where = {"plan": planned["plan"], "artifacts": artifacts}
            prompts = stages.prepare(**where).outputs
            due = stages.due(contamination=prompts["contamination"], if_changed=if_changed, **where)
            pilot_and_repair(
                passed=due.outputs["passed"], base=planned["base"], champion=planned["champion"],
                pilot=prompts["pilot"], training=prompts["training"], evaluation=prompts["evaluation"],
                contamination=prompts["contamination"], shards_training=planned["shards_training"],
                shards_evaluation=planned["shards_evaluation"], shards_champion=planned["shards_champion"], **where,
            )

    return realign


def make_pilot(stages: SimpleNamespace, judged_samples: Any) -> Any:
    """Return the sub-pipeline that does nothing unless the run is due."""
    repair = make_repair(stages, judged_samples)

    @dsl.pipeline(name="pilot-and-repair")
    def pilot_and_repair(
        passed: bool,
        plan: dsl.Input[dsl.Artifact],
        base: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        pilot: dsl.Input[dsl.Dataset],
        training: dsl.Input[dsl.Dataset],
        evaluation: dsl.Input[dsl.Dataset],
        contamination: dsl.Input[dsl.Artifact],
        shards_training: list,
        shards_evaluation: list,
        shards_champion: list,
        artifacts: str,
    ):
        where = {"plan": plan, "artifacts": artifacts}
        with dsl.If(passed == True, name="due"):  # noqa: E712 - builds a condition, compares nothing
            judged = judged_samples(
                model=base, prompts=pilot, section="sample_pilot", use="pilot", shards=["0"], **where
            ).outputs
            diagnosed = stages.diagnose(samples=judged["samples"], verdicts=judged["verdicts"], **where)
            repair(
                passed=diagnosed.outputs["passed"], base=base, champion=champion, training=training,
                evaluation=evaluation, contamination=contamination, shards_training=shards_training,
                shards_evaluation=shards_evaluation, shards_champion=shards_champion, **where,
            )

    return pilot_and_repair


def make_repair(stages: SimpleNamespace, judged_samples: Any) -> Any:
    """Return the sub-pipeline that does nothing unless the diagnosis passed."""
    tune_and_judge = make_tuning(stages)

    @dsl.pipeline(name="repair")
    def repair(
        passed: bool,
        plan: dsl.Input[dsl.Artifact],
        base: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        training: dsl.Input[dsl.Dataset],
        evaluation: dsl.Input[dsl.Dataset],
        contamination: dsl.Input[dsl.Artifact],
        shards_training: list,
        shards_evaluation: list,
        shards_champion: list,
        artifacts: str,
    ):
        where = {"plan": plan, "artifacts": artifacts}
        with dsl.If(passed == True, name="steerable"):  # noqa: E712 - builds a condition, compares nothing
            judged = judged_samples(
                model=base, prompts=training, section="sample_training", use="training", shards=shards_training,
                **where,
            ).outputs
            curated = stages.curate(samples=judged["samples"], verdicts=judged["verdicts"], **where)
            tune_and_judge(
                passed=curated.outputs["passed"], examples=curated.outputs["examples"], base=base, champion=champion,
                evaluation=evaluation, contamination=contamination, shards_evaluation=shards_evaluation,
                shards_champion=shards_champion, **where,
            )

    return repair


def make_tuning(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing unless there are enough examples to train on."""
    evaluate = make_evaluation(stages)
    promotion = make_promotion(stages)

    @dsl.pipeline(name="tune-and-judge")
    def tune_and_judge(
        passed: bool,
        plan: dsl.Input[dsl.Artifact],
        examples: dsl.Input[dsl.Dataset],
        base: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        evaluation: dsl.Input[dsl.Dataset],
        contamination: dsl.Input[dsl.Artifact],
        shards_evaluation: list,
        shards_champion: list,
        artifacts: str,
    ):
        where = {"plan": plan, "artifacts": artifacts}
        with dsl.If(passed == True, name="enough-examples"):  # noqa: E712 - builds a condition, compares nothing
            candidate = stages.train(base=base, examples=examples, **where).outputs["candidate"]
            registered = stages.register(candidate=candidate, examples=examples, **where)
            registration = registered.outputs["registration"]
            measured = {}
            for role, model, shards in (
                ("base", base, shards_evaluation),
                ("candidate", candidate, shards_evaluation),
                ("champion", champion, shards_champion),
            ):
                evaluated = evaluate(model=model, prompts=evaluation, role=role, shards=shards, **where).outputs
                measured |= {f"{role}_{kind}": evaluated[kind] for kind in ("metrics", "outcomes")}
            decided = stages.gate(**measured, contamination=contamination, registration=registration, **where)
            promotion(
                passed=decided.outputs["passed"], decision=decided.outputs["decision"], registration=registration,
                candidate=candidate, champion=champion, evaluation=evaluation, **where,
            )

    return tune_and_judge


def make_promotion(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing unless the gate passed."""
    roll_out = make_rollout(stages)

    @dsl.pipeline(name="promotion")
    def promotion(
        passed: bool,
        plan: dsl.Input[dsl.Artifact],
        decision: dsl.Input[dsl.Artifact],
        registration: dsl.Input[dsl.Artifact],
        candidate: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        evaluation: dsl.Input[dsl.Dataset],
        artifacts: str,
    ):
        where = {"plan": plan, "artifacts": artifacts}
        with dsl.If(passed == True, name="passed"):  # noqa: E712 - builds a condition, compares nothing
            promoted = stages.promote(
                decision=decision, registration=registration, candidate=candidate, champion=champion, **where
            ).outputs
            roll_out(
                passed=promoted["passed"], promotion=promoted["promotion"], candidate=candidate,
                evaluation=evaluation, **where,
            )

    return promotion


def make_rollout(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing where nothing is rolled out."""

    @dsl.pipeline(name="rollout")
    def rollout(
        passed: bool,
        plan: dsl.Input[dsl.Artifact],
        promotion: dsl.Input[dsl.Artifact],
        candidate: dsl.Input[dsl.Artifact],
        evaluation: dsl.Input[dsl.Dataset],
        artifacts: str,
    ):
        where = {"plan": plan, "artifacts": artifacts}
        with dsl.If(passed == True, name="rolled-out"):  # noqa: E712 - builds a condition, compares nothing
            greedy = stages.sample(
                model=candidate, prompts=evaluation, section="sample_rollout", use="rollout", shard="0", **where
            )
            stages.deploy(promotion=promotion, prompts=evaluation, samples=greedy.outputs["samples"], **where)

    return rollout
