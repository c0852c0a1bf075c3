"""GPU memory of a training of all weights, told before it runs out.

A parameter takes 16 bytes: its weight, its gradient and AdamW's two moments in float32. ``fsdp`` divides them among the
processes. A frozen copy of the student, which the KL compares with, takes more on each GPU. Activations and logits come
on top (docs/operators.md).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from thinksafe.config.kubernetes import amount
from thinksafe.config.shape import shape_of

if TYPE_CHECKING:
    from thinksafe.config.cluster_stages import GpuSettings
    from thinksafe.config.model import TrainingSettings

WEIGHTS, GRADIENTS, MOMENTS = 4, 4, 8
"""Bytes a parameter."""
FROZEN = {"kl": 2, "self-distillation": 2, "grpo": 4}
"""Bytes a parameter of a frozen copy, by kind of objective: in bfloat16, and in float32 where TRL makes it."""
GIB = 2**30
_NAMED = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BM])(?![A-Za-z0-9])", re.IGNORECASE)
_MIG = re.compile(r"mig-\d+g\.(\d+)gb")


def parameters_of(model: str) -> float:
    """Return the parameters that a model's name states, as ``Qwen/Qwen3-8B`` does; 0 if it states none."""
    found = _NAMED.search(model.rstrip("/").rpartition("/")[2])
    return float(found[1]) * (1e9 if found[2].upper() == "B" else 1e6) if found else 0.0


def bytes_needed(parameters: float, processes: int, objective: str) -> float:
    """Return the bytes on each GPU.

    Args:
        parameters: Of the student.
        processes: Among which they are divided; 1 if each holds all.
        objective: Kind of the objective.
    """
    return parameters * ((WEIGHTS + GRADIENTS + MOMENTS) / processes + FROZEN.get(objective, 0))


def told(parameters: float, processes: int, objective: str) -> str:
    """Return what a training of all weights takes, in words."""
    need = bytes_needed(parameters, processes, objective) / GIB
    parts = f"{WEIGHTS} bytes for the weight, {GRADIENTS} for the gradient and {MOMENTS} for AdamW"
    among = f", divided among {processes} processes" if processes > 1 else ""
    copy = f", and {FROZEN[objective]} for the frozen copy" if objective in FROZEN else ""
    return (
        f"training all weights of {parameters / 1e9:.3g} billion parameters takes {need:.0f} GiB on each GPU ({parts} "
        f"a parameter{among}{copy}), activations not counted"
    )


def memory_of(gpu: GpuSettings) -> float:
    """Return the memory of one GPU in bytes, as configured or by the name of a MIG slice; 0 if unknown."""
    if gpu.memory is not None:
        return float(amount(gpu.memory))
    found = _MIG.search(gpu.type)
    return float(found[1]) * GIB if found else 0.0


def sharing(training: TrainingSettings, gpus: int = 0) -> int:
    """Return among how many processes the weights are divided."""
    return shape_of(training, gpus).world if training.strategy == "fsdp" else 1


def check_memory(training: TrainingSettings, model: str, gpu: GpuSettings | None, objective: str) -> None:
    """Refuse a training of all weights that its pod's GPUs cannot hold, as far as names and settings tell.

    Args:
        training: The section ``training``.
        model: Name of the student.
        gpu: GPUs of the pod, if it is a pod.
        objective: Kind of the objective.

    Raises:
        ValueError: it does not fit.
    """
    parameters = parameters_of(model)
    if training.parameters != "full" or gpu is None or not parameters or not (memory := memory_of(gpu)):
        return
    processes = sharing(training, gpu.count)
    if bytes_needed(parameters, processes, objective) > memory:
        raise ValueError(
            f"training.parameters is full: {told(parameters, processes, objective)}, and cluster.stages.train.gpu "
            f"has {memory / GIB:.0f} GiB; use strategy fsdp on more GPUs, or parameters lora"
        )
