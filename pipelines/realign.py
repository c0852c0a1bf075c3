"""The realignment pipeline: repair a model from its own samples, and promote the adapter if the gate passes.

A stage that decides hands on a flag. What follows it sits in a sub-pipeline that takes the flag as its input and
holds the condition: ``kfp.local`` skips a condition on another task's output without a word.
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
            where = {"artifacts": artifacts, "run_id": planned["run"]}
            prompts = stages.prepare(section=planned["prepare"], **where).outputs
            due = stages.due(contamination=prompts["contamination"], if_changed=if_changed, **where)
            pilot_and_repair(
                passed=due.outputs["passed"], base=planned["base"], champion=planned["champion"],
                pilot=prompts["pilot"], training=prompts["training"], evaluation=prompts["evaluation"],
                contamination=prompts["contamination"],
                **{name: planned[name] for name in (*PILOT_SECTIONS, *REPAIR_SECTIONS)}, **where,
            )

    return realign


PILOT_SECTIONS = ("sample_pilot", "shards_pilot", "diagnose")
"""Outputs of plan that only the pilot takes."""


REPAIR_SECTIONS = (
    "sample_training", "judge_filter", "shards_training", "curate", "train", "registry", "sample_evaluation",
    "judge_evaluate", "grade", "metrics", "shards_evaluation", "gate", "rollout", "sample_rollout", "deploy",
)
"""Outputs of plan that the repair sub-pipeline takes under the same names."""


def make_pilot(stages: SimpleNamespace, judged_samples: Any) -> Any:
    """Return the sub-pipeline that does nothing unless the run is due."""
    repair = make_repair(stages, judged_samples)

    @dsl.pipeline(name="pilot-and-repair")
    def pilot_and_repair(
        passed: bool,
        base: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        pilot: dsl.Input[dsl.Dataset],
        training: dsl.Input[dsl.Dataset],
        evaluation: dsl.Input[dsl.Dataset],
        contamination: dsl.Input[dsl.Artifact],
        sample_pilot: str,
        shards_pilot: list,
        diagnose: str,
        sample_training: str,
        judge_filter: str,
        shards_training: list,
        curate: str,
        train: str,
        registry: str,
        sample_evaluation: str,
        judge_evaluate: str,
        grade: str,
        metrics: str,
        shards_evaluation: list,
        gate: str,
        rollout: bool,
        sample_rollout: str,
        deploy: str,
        artifacts: str,
        run_id: str,
    ):
        where = {"artifacts": artifacts, "run_id": run_id}
        with dsl.If(passed == True, name="due"):  # noqa: E712 - builds a condition, compares nothing
            judged = judged_samples(
                model=base, prompts=pilot, sample_section=sample_pilot, judge_section=judge_filter, use="pilot",
                shards=shards_pilot, all_shards=shards_pilot, **where,
            )
            diagnosed = stages.diagnose(
                samples=judged.outputs["samples"], verdicts=judged.outputs["verdicts"], section=diagnose, **where
            )
            repair(
                passed=diagnosed.outputs["passed"], base=base, champion=champion, training=training,
                evaluation=evaluation, contamination=contamination, sample_training=sample_training,
                judge_filter=judge_filter, shards_training=shards_training, curate=curate, train=train,
                registry=registry, sample_evaluation=sample_evaluation, judge_evaluate=judge_evaluate, grade=grade,
                metrics=metrics, shards_evaluation=shards_evaluation, gate=gate, rollout=rollout,
                sample_rollout=sample_rollout, deploy=deploy, **where,
            )

    return pilot_and_repair


def make_repair(stages: SimpleNamespace, judged_samples: Any) -> Any:
    """Return the sub-pipeline that does nothing unless the diagnosis passed."""
    tune_and_judge = make_tuning(stages)

    @dsl.pipeline(name="repair")
    def repair(
        passed: bool,
        base: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        training: dsl.Input[dsl.Dataset],
        evaluation: dsl.Input[dsl.Dataset],
        contamination: dsl.Input[dsl.Artifact],
        sample_training: str,
        judge_filter: str,
        shards_training: list,
        curate: str,
        train: str,
        registry: str,
        sample_evaluation: str,
        judge_evaluate: str,
        grade: str,
        metrics: str,
        shards_evaluation: list,
        gate: str,
        rollout: bool,
        sample_rollout: str,
        deploy: str,
        artifacts: str,
        run_id: str,
    ):
        where = {"artifacts": artifacts, "run_id": run_id}
        with dsl.If(passed == True, name="steerable"):  # noqa: E712 - builds a condition, compares nothing
            judged = judged_samples(
                model=base, prompts=training, sample_section=sample_training, judge_section=judge_filter,
                use="training", shards=shards_training, all_shards=shards_training, **where,
            )
            curated = stages.curate(
                samples=judged.outputs["samples"], verdicts=judged.outputs["verdicts"], section=curate, **where
            )
            tune_and_judge(
                passed=curated.outputs["passed"], examples=curated.outputs["examples"], base=base, champion=champion,
                evaluation=evaluation, contamination=contamination, train=train, registry=registry,
                sample_evaluation=sample_evaluation, judge_evaluate=judge_evaluate, grade=grade, metrics=metrics,
                shards_evaluation=shards_evaluation, gate=gate, rollout=rollout, sample_rollout=sample_rollout,
                deploy=deploy, **where,
            )

    return repair


def make_tuning(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing unless there are enough examples to train on."""
    evaluate = make_evaluation(stages)
    promotion = make_promotion(stages)

    @dsl.pipeline(name="tune-and-judge")
    def tune_and_judge(
        passed: bool,
        examples: dsl.Input[dsl.Dataset],
        base: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        evaluation: dsl.Input[dsl.Dataset],
        contamination: dsl.Input[dsl.Artifact],
        train: str,
        registry: str,
        sample_evaluation: str,
        judge_evaluate: str,
        grade: str,
        metrics: str,
        shards_evaluation: list,
        gate: str,
        rollout: bool,
        sample_rollout: str,
        deploy: str,
        artifacts: str,
        run_id: str,
    ):
        where = {"artifacts": artifacts, "run_id": run_id}
        with dsl.If(passed == True, name="enough-examples"):  # noqa: E712 - builds a condition, compares nothing
            trained = stages.train(base=base, examples=examples, section=train, **where)
            candidate = trained.outputs["candidate"]
            registration = stages.register(
                candidate=candidate, examples=examples, section=registry, **where
            ).outputs["registration"]
            measured = {}
            for role, model in {"base": base, "candidate": candidate, "champion": champion}.items():
                evaluated = evaluate(
                    model=model, prompts=evaluation, sample_section=sample_evaluation,
                    judge_section=judge_evaluate, grade_section=grade, metrics_section=metrics, role=role,
                    shards=shards_evaluation, all_shards=shards_evaluation, **where,
                )
                measured[f"{role}_metrics"] = evaluated.outputs["metrics"]
                measured[f"{role}_outcomes"] = evaluated.outputs["outcomes"]
            decided = stages.gate(
                **measured, contamination=contamination, registration=registration, section=gate, **where
            )
            promotion(
                passed=decided.outputs["passed"], decision=decided.outputs["decision"], registration=registration,
                candidate=candidate, champion=champion, section=registry, evaluation=evaluation, rollout=rollout,
                sample_rollout=sample_rollout, deploy=deploy, **where,
            )

    return tune_and_judge


def make_promotion(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing unless the gate passed."""
    roll_out = make_rollout(stages)

    @dsl.pipeline(name="promotion")
    def promotion(
        passed: bool,
        decision: dsl.Input[dsl.Artifact],
        registration: dsl.Input[dsl.Artifact],
        candidate: dsl.Input[dsl.Artifact],
        champion: dsl.Input[dsl.Artifact],
        evaluation: dsl.Input[dsl.Dataset],
        section: str,
        rollout: bool,
        sample_rollout: str,
        deploy: str,
        artifacts: str,
        run_id: str,
    ):
        where = {"artifacts": artifacts, "run_id": run_id}
        with dsl.If(passed == True, name="passed"):  # noqa: E712 - builds a condition, compares nothing
            promoted = stages.promote(
                decision=decision, registration=registration, candidate=candidate, champion=champion,
                section=section, **where,
            )
            roll_out(
                passed=rollout, promotion=promoted.outputs["promotion"], candidate=candidate, evaluation=evaluation,
                sample_section=sample_rollout, section=deploy, **where,
            )

    return promotion


def make_rollout(stages: SimpleNamespace) -> Any:
    """Return the sub-pipeline that does nothing where nothing is rolled out."""

    @dsl.pipeline(name="rollout")
    def rollout(
        passed: bool,
        promotion: dsl.Input[dsl.Artifact],
        candidate: dsl.Input[dsl.Artifact],
        evaluation: dsl.Input[dsl.Dataset],
        sample_section: str,
        section: str,
        artifacts: str,
        run_id: str,
    ):
        where = {"artifacts": artifacts, "run_id": run_id}
        with dsl.If(passed == True, name="rolled-out"):  # noqa: E712 - builds a condition, compares nothing
            greedy = stages.sample(
                model=candidate, prompts=evaluation, section=sample_section, use="rollout", shard="0", shards=["0"],
                **where,
            )
            stages.deploy(
                promotion=promotion, prompts=evaluation, samples=greedy.outputs["samples"], section=section, **where
            )

    return rollout
