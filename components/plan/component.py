"""The plan component: configuration to one section per stage."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def plan(
        config: str,
        overrides: str,
        job_id: str,
        base: dsl.Output[dsl.Artifact], champion: dsl.Output[dsl.Artifact],
        run: dsl.OutputPath(str),
        shards_pilot: dsl.OutputPath(list),
        shards_training: dsl.OutputPath(list),
        shards_evaluation: dsl.OutputPath(list),
        prepare: dsl.OutputPath(str),
        sample_pilot: dsl.OutputPath(str),
        sample_training: dsl.OutputPath(str),
        sample_evaluation: dsl.OutputPath(str),
        judge_filter: dsl.OutputPath(str), judge_evaluate: dsl.OutputPath(str),
        grade: dsl.OutputPath(str),
        diagnose: dsl.OutputPath(str), curate: dsl.OutputPath(str), train: dsl.OutputPath(str),
        metrics: dsl.OutputPath(str), gate: dsl.OutputPath(str), registry: dsl.OutputPath(str),
        rollout: dsl.OutputPath(bool),
        sample_rollout: dsl.OutputPath(str), deploy: dsl.OutputPath(str),
        artifacts: str,
        run_id: str,
    ):
        """Validate the configuration and cut it into one section per stage.

        Args:
            config: Configuration: YAML text, path or recipe name.
            overrides: JSON list of key=value texts that replace settings.
            job_id: KFP's job id, the run id when none is given.
            base: Reference of the model to repair, as JSON.
            champion: Reference of the champion, marked absent when there is none.
            run: Run id that all other tasks take.
            shards_pilot: Shard ids of the pilot samples.
            shards_training: Shard ids of the training samples.
            shards_evaluation: Shard ids of the evaluation samples.
            prepare: Section prepare.
            sample_pilot: Section sample_pilot.
            sample_training: Section sample_training.
            sample_evaluation: Section sample_evaluation.
            judge_filter: Section judge_filter.
            judge_evaluate: Section judge_evaluate.
            grade: Section grade.
            diagnose: Section diagnose.
            curate: Section curate.
            train: Section train.
            metrics: Section metrics.
            gate: Section gate.
            registry: Section registry.
            rollout: Whether something is rolled out.
            sample_rollout: Section sample_rollout.
            deploy: Section deploy.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run id; empty takes the job id.
        """
        outputs = {
            "run_id": run, "shards_pilot": shards_pilot, "shards_training": shards_training,
            "shards_evaluation": shards_evaluation, "prepare": prepare, "sample_pilot": sample_pilot,
            "sample_training": sample_training, "sample_evaluation": sample_evaluation, "judge_filter": judge_filter,
            "judge_evaluate": judge_evaluate, "grade": grade, "diagnose": diagnose, "curate": curate, "train": train,
            "metrics": metrics, "gate": gate, "registry": registry, "rollout": rollout,
            "sample_rollout": sample_rollout, "deploy": deploy,
        }
        return stage_container(
            image, "plan", task="plan", run_id=run_id, artifacts=artifacts, config=config, overrides=overrides,
            job_id=job_id, base_out=base.path, champion_out=champion.path,
            output=[f"{name}={path}" for name, path in outputs.items()],
        )

    return plan
