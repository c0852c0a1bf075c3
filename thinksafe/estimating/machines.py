"""Which models a task runs, and on how many GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from thinksafe.config.gpus import gpus_needed
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.suite import SuiteConfig
from thinksafe.estimating.work import Task
from thinksafe.settings import StudentSettings


def models_of(task: Task, config: RealignmentConfig | SuiteConfig) -> Sequence[StudentSettings]:
    """Return the models that a task runs."""
    if task.stage == "grade":
        return []
    if task.stage == "judge":
        guard = config.guard.filter if task.use in ("pilot", "training") else config.guard.evaluate
        return [
            StudentSettings(model=each.model, revision=each.revision)
            for each in guard.each if each.model and each.backend != "endpoint"
        ]
    if task.use == "training" and task.stage == "sample" and isinstance(config, RealignmentConfig):
        teacher = config.method.responses().teacher
        if teacher is not None:
            return [teacher]
    if task.stage == "sample" and config.engine.kind == "endpoint":
        return []
    return [config.student] if config.student is not None else []


def asked_gpus(task: Task, config: RealignmentConfig | SuiteConfig) -> int | None:
    """Return the GPUs that a cluster's pods hold for a task; None if the configuration is for no cluster."""
    if config.cluster is None:
        return None
    gpu = config.cluster.stage(task.stage).gpu
    nodes = config.training.nodes if task.stage == "train" and isinstance(config, RealignmentConfig) else 1
    return nodes * gpu.count if gpu is not None else 0


def needed_gpus(config: RealignmentConfig | SuiteConfig, stage: str) -> int:
    """Return the GPUs that the recipe needs for a stage, where nothing else is asked for."""
    return gpus_needed({name: getattr(config, name) for name in type(config).model_fields}).get(stage, 0)
