"""Configuration of the jobs that stages start on a cluster: Indexed Jobs, and TrainJobs of Kubeflow Trainer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from thinksafe.config.kubernetes import Duration, LabelValue, ObjectName, OptionalName
from thinksafe.settings import Section


class JobSettings(Section):
    """What Jobs and TrainJobs share. Image, resources and placement are those of the stage that starts them."""

    queue: Annotated[LabelValue, Field(max_length=63)] = ""
    """Local queue of Kueue that admits the jobs; empty for none."""
    service_account: OptionalName = ""
    """Service account of the jobs' pods, which read and write the store; ``cluster.service_account`` when empty."""


class RuntimeSettings(Section):
    """The training runtime that the cluster's administrators provide."""

    name: ObjectName = "torch-distributed"
    """Name. The runtime must have Trainer's torch policy, and its job and container must be called ``node``."""
    kind: Literal["ClusterTrainingRuntime", "TrainingRuntime"] = "ClusterTrainingRuntime"
    """``TrainingRuntime``: a runtime in ``cluster.namespace``."""


class TrainJobSettings(Section):
    """How ``training.nodes`` pods train together. Image, resources and placement are those of ``stages.train``."""

    enabled: bool = False
    """On: ``train`` starts a TrainJob and waits for it. Off: it trains in its own pod, on one node."""
    runtime: RuntimeSettings = RuntimeSettings()
    deadline: Duration = "24h"
    """Time limit of the job, including its time in a queue; after it the job is stopped and the stage fails. Replaces
    ``stages.train.deadline``."""
