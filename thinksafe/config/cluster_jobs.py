"""Configuration of the TrainJob in which the nodes of a training run (Kubeflow Trainer)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from thinksafe.config.kubernetes import Duration, LabelValue, ObjectName, OptionalName
from thinksafe.settings import Section


class RuntimeSettings(Section):
    """The training runtime, which whoever runs the cluster provides."""

    name: ObjectName = "torch-distributed"
    """Its name; it must have Trainer's torch policy, and call its job and its container ``node``."""
    kind: Literal["ClusterTrainingRuntime", "TrainingRuntime"] = "ClusterTrainingRuntime"
    """``TrainingRuntime``: one of ``cluster.namespace``."""


class TrainJobSettings(Section):
    """How ``training.nodes`` pods train together. Image, resources and placement are those of ``stages.train``."""

    enabled: bool = False
    """On: ``train`` starts a TrainJob and waits for it. Off: it trains in its own pod, on one node."""
    runtime: RuntimeSettings = RuntimeSettings()
    deadline: Duration = "24h"
    """After so long the job is ended, and the stage has failed; the time in a queue counts. Holds in place of
    ``stages.train.deadline``."""
    queue: Annotated[LabelValue, Field(max_length=63)] = ""
    """Local queue of Kueue that admits the job; empty where there is none."""
    service_account: OptionalName = ""
    """Service account of the job's pods, which read and write the store; ``cluster.service_account`` when empty."""
    pending: Duration = "30m"
    """So long a pod may find no node before the stage gives up."""
    keep: Duration = "24h"
    """So long a job that failed stays there to be looked at; the next training deletes it. One that is complete is
    deleted at once."""
