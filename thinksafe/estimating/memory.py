"""Memory of each stage's model against the GPUs that the stage asks for. What no file says is unknown, not guessed."""

from __future__ import annotations

from collections.abc import Iterator

from thinksafe.config.memory import FROZEN, GRADIENTS, MOMENTS, WEIGHTS, memory_of, sharing
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.suite import SuiteConfig
from thinksafe.config.vllm import parallel
from thinksafe.estimating.machines import needed_gpus
from thinksafe.estimating.model import MemoryEstimate
from thinksafe.models.shapes import BYTES, ModelShape, Shapes
from thinksafe.settings import StudentSettings

GUARD_DTYPE = "bfloat16"
VLLM = "vLLM fills what is left with more responses"
ACTIVATIONS = "activations and logits come on top"


def trained_parameters(config: RealignmentConfig, shapes: Shapes) -> float | None:
    """Return the number of parameters that a configuration trains; None if unknown."""
    shape, training = shapes.of(config.student), config.training
    if training.parameters == "full":
        return shape.parameters
    return shape.adapter(training.lora_rank, training.target_modules)


def memory_of_stages(config: RealignmentConfig | SuiteConfig, shapes: Shapes) -> tuple[MemoryEstimate, ...]:
    """Return what the models take on each GPU, by stage."""
    return tuple(_stages(config, shapes))


def _stages(config: RealignmentConfig | SuiteConfig, shapes: Shapes) -> Iterator[MemoryEstimate]:
    if config.student is not None and config.engine.kind != "endpoint":
        yield _sampling(config, config.student, shapes)
    guards = {
        (guard.model, guard.revision): guard for use, guard in config.guard.named.items()
        if guard.model and guard.backend in ("transformers", "vllm") and not use.startswith("reward")
    }
    for guard in guards.values():
        model = StudentSettings(model=guard.model, revision=guard.revision)
        spread = parallel(guard.options) if guard.backend == "vllm" else 1
        weights = _weights(shapes.of(model), GUARD_DTYPE, spread)
        yield MemoryEstimate(
            stage="judge", model=guard.model, gpus=_gpus(config, "judge"), weights=weights,
            memory=_memory(config, "judge"), note=VLLM if weights and guard.backend == "vllm" else _why(weights),
        )
    if isinstance(config, RealignmentConfig):
        yield _training(config, shapes)


def _sampling(
    config: RealignmentConfig | SuiteConfig, student: StudentSettings, shapes: Shapes
) -> MemoryEstimate:
    shape, options = shapes.of(student), config.engine.options
    spread = parallel(options, config.engine.tensor_parallel_size) if config.engine.kind == "vllm" else 1
    weights = _weights(shape, student.dtype, spread)
    asked = options.get("max_model_len")
    length = asked if isinstance(asked, int) and asked > 0 else shape.positions or 0
    narrow = str(options.get("kv_cache_dtype", "")).startswith("fp8")
    cache = shape.cache * (1 if narrow else BYTES[student.dtype]) * length / spread if shape.cache and length else None
    notes = [VLLM] if config.engine.kind == "vllm" and weights else [_why(weights)]
    if cache is None:
        notes.append("the cache is unknown without the model's configuration")
    return MemoryEstimate(
        stage="sample", model=student.model, gpus=_gpus(config, "sample"), weights=weights, cache=cache,
        cache_tokens=length if cache is not None else 0, memory=_memory(config, "sample"),
        note="; ".join(note for note in notes if note),
    )


def _training(config: RealignmentConfig, shapes: Shapes) -> MemoryEstimate:
    shape, training, objective = shapes.of(config.student), config.training, config.method.minimises().kind
    trained, gpus = trained_parameters(config, shapes), _gpus(config, "train")
    try:
        processes = sharing(training, gpus)
    except ValueError:  # the stage, which sees its GPUs, refuses this
        processes = 1
    frozen = FROZEN.get(objective, 0) if training.parameters == "full" else 0
    if training.parameters == "full":
        weights = None if shape.parameters is None else shape.parameters * WEIGHTS / processes
        more = GRADIENTS + MOMENTS
    else:
        weights = _weights(shape, config.student.dtype, processes)
        more = WEIGHTS + GRADIENTS + MOMENTS
    optimizer = None if trained is None else trained * more / processes
    if optimizer is not None and shape.parameters is not None:
        optimizer += shape.parameters * frozen
    notes = [ACTIVATIONS if weights else _why(weights)]
    if trained is None and weights:
        notes.append("the adapter is unknown without the model's configuration")
    return MemoryEstimate(
        stage="train", model=config.student.model, gpus=gpus, weights=weights, optimizer=optimizer,
        memory=_memory(config, "train"), note="; ".join(notes),
    )


def _weights(shape: ModelShape, dtype: str, spread: int) -> float | None:
    return None if shape.parameters is None else shape.parameters * BYTES[dtype] / spread


def _why(weights: float | None) -> str:
    return "" if weights else "unknown: neither its files nor its name can be read for its size"


def _gpus(config: RealignmentConfig | SuiteConfig, stage: str) -> int:
    if config.cluster is not None:
        gpu = config.cluster.stage(stage).gpu
        return gpu.count if gpu is not None else 0
    return needed_gpus(config, stage)


def _memory(config: RealignmentConfig | SuiteConfig, stage: str) -> float | None:
    gpu = config.cluster.stage(stage).gpu if config.cluster is not None else None
    return memory_of(gpu) or None if gpu is not None and gpu.count else None
