"""How a training is spread: nodes, processes on each, and what each process takes of a batch.

The one place that knows the rule. It is asked when a configuration is read, with the GPUs of the pod where they are
known, and again by the stage, with those that it sees.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from thinksafe.config.cluster import ClusterSettings
    from thinksafe.config.model import TrainingSettings


class Shape(NamedTuple):
    """A training whose batch can be shared out."""

    nodes: int
    processes: int
    """Of each node, each with a GPU of its own where there are GPUs."""
    rows: int
    """Rows of an optimiser step that each process takes."""
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
    """Check what can be known of a training before its GPUs are. Raises ValueError."""
    if settings.batch_size % settings.micro_batch_size:
        raise ValueError(f"batch_size {settings.batch_size} is not a multiple of {settings.micro_batch_size}")
    if settings.nodes > 1 and not settings.processes:
        raise ValueError(f"nodes is {settings.nodes}, so that processes must say how many train on each: 1 or more")
    if settings.processes:
        shape_of(settings)


def shape_of(settings: TrainingSettings, gpus: int = 0) -> Shape:
    """Return the shape of a training.

    Args:
        settings: The section ``training``.
        gpus: GPUs of each node, which settle ``processes`` where it is 0; 0 for CPUs, or where ``processes`` is given.

    Raises:
        ValueError: there are fewer GPUs than processes, the batch cannot be shared out, or ``fsdp`` has nothing to
            share the student among.
    """
    nodes, wanted = settings.nodes, settings.processes
    if gpus and wanted > gpus:
        raise ValueError(f"processes is {wanted}, and there are {gpus} GPUs")
    count = wanted or gpus or 1
    if settings.strategy == "fsdp" and nodes * count == 1:
        raise ValueError("strategy is fsdp, which shares the student among processes, and one trains")
    if settings.batch_size % (nodes * count):
        named = ("processes, " if nodes == 1 else "nodes x processes, ") if wanted else "the GPUs, "
        by = f"{count}" if nodes == 1 else f"{nodes} x {count}"
        raise ValueError(f"batch_size {settings.batch_size} is not a multiple of {named}{by}")
    rows = settings.batch_size // (nodes * count)
    return Shape(nodes, count, rows, math.gcd(settings.micro_batch_size, rows))


def gpus_of(settings: TrainingSettings, several: int) -> int:
    """Return the GPUs that the pod of a training asks for by itself.

    Args:
        settings: The section ``training``.
        several: GPUs over which the student is spread to sample: one that needs them is shared out among as many.
    """
    return settings.processes or (max(2, several) if settings.strategy == "fsdp" else 1)


def check_place(settings: TrainingSettings, cluster: ClusterSettings | None) -> None:
    """Check that a training has the nodes and the GPUs that it asks for: else it would fail after hours of sampling.

    Args:
        settings: The section ``training``.
        cluster: The section ``cluster``, where there is one.

    Raises:
        ValueError: several nodes without a TrainJob, a TrainJob without a number of processes, or :func:`shape_of`.
    """
    if settings.nodes > 1 and (cluster is None or not cluster.train_job.enabled):
        missing = "there is no section cluster" if cluster is None else "cluster.train_job.enabled is false"
        raise ValueError(
            f"training.nodes is {settings.nodes}, and {missing}: several nodes train in a TrainJob of Kubeflow Trainer"
        )
    if cluster is None:
        return
    if cluster.train_job.enabled and not settings.processes:
        raise ValueError("cluster.train_job is on, so training.processes must say how many train on each node")
    gpu = cluster.stage("train").gpu
    if gpu is not None and gpu.count:
        try:
            shape_of(settings, gpu.count)
        except ValueError as error:
            raise ValueError(f"training: {error} (cluster.stages.train.gpu.count)") from error
