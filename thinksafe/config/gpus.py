"""How many GPUs the pods of a run get by default: as many as the recipe needs, unless ``cluster.stages`` sets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thinksafe.config.cluster_stages import GpuSettings, StageSettings
from thinksafe.config.shape import gpus_of
from thinksafe.config.stage_table import StageName
from thinksafe.config.vllm import parallel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thinksafe.config.cluster import ClusterSettings
    from thinksafe.config.guard import GuardSettings
    from thinksafe.config.model import EngineSettings


def gpus_needed(config: Mapping[str, Any]) -> dict[StageName, int]:
    """Return the GPUs that the pods of each stage need; stages that need none are left out.

    ``sample`` needs those that vLLM spreads the student over (with retries those of ``judge``, too), ``judge`` and
    ``deploy`` those of the guard, ``train`` one for each process of a node. A recipe with an engine other than vLLM is
    for CPUs, except for guards on vLLM.

    Args:
        config: The sections ``engine`` and ``guard`` and, for a realignment, ``sampling``, ``training`` and ``deploy``.
    """
    engine, guards = config["engine"], config["guard"]
    vllm = engine.kind == "vllm"
    needed: dict[StageName, int] = {
        "sample": _engine(engine),
        "judge": max(
            _guard(guard, vllm=vllm) for use, guard in guards.named.items() if not use.startswith("reward")
        ),
    }
    if (training := config.get("training")) is not None and vllm:
        needed["train"] = gpus_of(training, needed["sample"])
    if (sampling := config.get("sampling")) is not None and sampling.retries:
        needed["sample"] = max(needed["sample"], needed["judge"])  # it judges between two tries
    if (deploy := config.get("deploy")) is not None and deploy.kind != "none":
        needed["deploy"] = max(_guard(guard, vllm=vllm) for guard in guards.evaluate.each)
    return {stage: count for stage, count in needed.items() if count}


def with_gpus(cluster: ClusterSettings, needed: Mapping[StageName, int]) -> ClusterSettings:
    """Return the section with the needed GPUs filled in for the stages that name none.

    Raises:
        ValueError: a stage has GPUs, but fewer than vLLM spreads the model over.
    """
    stages = dict(cluster.stages)
    for stage, count in needed.items():
        gpu = cluster.stage(stage).gpu
        if gpu is None:
            own = stages.get(stage) or StageSettings()
            stages[stage] = own.model_copy(update={"gpu": GpuSettings(count=count)})
        elif stage != "train" and 0 < gpu.count < count:
            raise ValueError(
                f"stages.{stage}.gpu.count is {gpu.count}, but vLLM spreads the model over {count} GPUs of the pod "
                "(engine.tensor_parallel_size, or options of engine or guard)"
            )
    return cluster.model_copy(update={"stages": stages})


def _engine(engine: EngineSettings) -> int:
    return parallel(engine.options, engine.tensor_parallel_size) if engine.kind == "vllm" else 0


def _guard(guard: GuardSettings, *, vllm: bool) -> int:
    if not guard.model:
        return 0
    if guard.backend == "vllm":
        return parallel(guard.options)
    return int(vllm and guard.backend == "transformers")
