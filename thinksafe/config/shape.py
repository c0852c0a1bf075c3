"""How a training is spread: nodes, processes on each, and the share of a batch for each process.

The rule is only here. It is applied when a configuration is read, with the GPUs of the pod if they are known, and again
by the stage, with the GPUs that it sees.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from thinksafe.config.cluster import ClusterSettings
    from thinksafe.config.model import TrainingSettings


class Shape(NamedTuple):
    """The shape of a training whose batch can be divided."""

    nodes: int
    processes: int
    """Processes on each node, one per GPU if there are GPUs."""
    rows: int
    """Rows of an optimiser step for each process."""
    micro: int
    """Rows of a forward pass of a process."""

    @property
    def world(self) -> int:
        """Processes on all nodes."""
        return self.nodes * self.processes

    @property
    def accumulation(self) -> int:
        """Forward passes of an optimiser step."""
        return self.rows // self.micro


def check_shape(settings: TrainingSettings) -> None:
    """Check what is known about a training before its GPUs are. Raises ValueError."""
    if settings.batch_size % settings.micro_batch_size:
        raise ValueError(f"batch_size {settings.batch_size} is not a multiple of {settings.micro_batch_size}")
    if settings.nodes > 1 and not settings.processes:
        raise ValueError(f"nodes is {settings.nodes}, so processes must say how many train on each: 1 or more")
    if settings.processes:
        shape_of(settings)


def shape_of(settings: TrainingSettings, gpus: int = 0) -> Shape:
    """Return the shape of a training.

    Args:
        settings: The section ``training``.
        gpus: GPUs of each node, the value of ``processes`` if that is 0; 0 for CPUs, or if ``processes`` is given.

    Raises:
        ValueError: There are fewer GPUs than processes, the batch cannot be divided, or ``fsdp`` has only one process.
    """
    nodes, wanted = settings.nodes, settings.processes
    if gpus and wanted > gpus:
        raise ValueError(f"processes is {wanted}, but there are {gpus} GPUs")
    count = wanted or gpus or 1
    if settings.strategy == "fsdp" and nodes * count == 1:
        raise ValueError("strategy is fsdp, which splits the student among processes, but there is only one")
    if settings.batch_size % (nodes * count):
        named = ("processes, " if nodes == 1 else "nodes x processes, ") if wanted else "the GPUs, "
        by = f"{count}" if nodes == 1 else f"{nodes} x {count}"
        raise ValueError(f"batch_size {settings.batch_size} is not a multiple of {named}{by}")
    rows = settings.batch_size // (nodes * count)
    return Shape(nodes, count, rows, math.gcd(settings.micro_batch_size, rows))


def gpus_of(settings: TrainingSettings, several: int) -> int:
    """Return the GPUs that the pod of a training asks for by default.

    Args:
        settings: The section ``training``.
        several: GPUs that sampling spreads the student over; with ``fsdp``, training uses as many.
    """
    return settings.processes or (max(2, several) if settings.strategy == "fsdp" else 1)


def check_place(settings: TrainingSettings, cluster: ClusterSettings | None) -> None:
    """Check that a training has the nodes and the GPUs that it needs; otherwise it fails after hours of sampling.

    Args:
        settings: The section ``training``.
        cluster: The section ``cluster``, if there is one.

    Raises:
        ValueError: several nodes without a TrainJob, a TrainJob without a number of processes, or :func:`shape_of`.
    """
    if settings.nodes > 1 and (cluster is None or not cluster.train_job.enabled):
        missing = "there is no section cluster" if cluster is None else "cluster.train_job.enabled is false"
        raise ValueError(
            f"training.nodes is {settings.nodes}, but {missing}: several nodes train in a TrainJob of Kubeflow Trainer"
        )
    if cluster is None:
        return
    if cluster.train_job.enabled and not settings.processes:
        raise ValueError("cluster.train_job is enabled, so training.processes must say how many train on each node")
    gpu = cluster.stage("train").gpu
    if gpu is not None and gpu.count:
        try:
            shape_of(settings, gpu.count)
        except ValueError as error:
            raise ValueError(f"training: {error} (cluster.stages.train.gpu.count)") from error
