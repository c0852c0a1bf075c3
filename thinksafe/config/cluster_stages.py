"""Configuration of single stages on a cluster: resources, placement, retries, deadline.

Every field is optional: ``default`` fills in what a stage leaves out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from thinksafe.config.kubernetes import (
    YEAR_S,
    Cpu,
    Duration,
    ExtendedResource,
    GroupId,
    LabelKey,
    LabelValue,
    Memory,
    ObjectName,
    UserId,
    amount,
    seconds,
)
from thinksafe.settings import CountOrZero, Section

FIRST_WAIT_S = 30
"""Seconds before the first retry of a stage that failed, or of its pod; each wait is twice the one before."""

START_WITHIN: Duration = "30m"
"""How long a pod may take to start if nothing else is set."""


class ResourceAmounts(Section):
    """Amounts of CPU and memory; Kubeflow Pipelines supports no other kinds."""

    cpu: Cpu | None = None
    """Cores, e.g. ``4`` or ``500m``."""
    memory: Memory | None = None
    """Bytes, e.g. ``16Gi``."""


class GpuSettings(Section):
    """Accelerators of a pod."""

    type: ExtendedResource = "nvidia.com/gpu"
    """Name of the extended resource: ``nvidia.com/gpu``, ``amd.com/gpu``, ``nvidia.com/mig-3g.40gb``."""
    count: CountOrZero = 1
    """How many, all on one node; 0 asks for none, even if ``default`` has some or the recipe needs them."""
    memory: Memory | None = None
    """Memory of each, such as ``80Gi``; the name of a MIG slice says it. With it, a configuration whose training of all
    weights does not fit is refused."""


class TolerationSettings(Section):
    """A taint that the stage's pods tolerate."""

    key: LabelKey | Literal[""] = ""
    """Key of the taint; empty, with ``Exists``, tolerates all."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """``Equal`` compares ``value`` too."""
    value: LabelValue = ""
    """Value of the taint."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect to tolerate; empty tolerates all."""
    seconds: Annotated[int, Field(ge=0, le=YEAR_S, strict=True)] | None = None
    """With ``NoExecute``: how long to tolerate it; by default for ever."""

    @model_validator(mode="after")
    def _makes_sense(self) -> TolerationSettings:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value; write operator: Equal")
        if self.operator == "Equal" and not self.key:
            raise ValueError("operator Equal needs a key")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("seconds have an effect only with effect NoExecute")
        return self


class NodeExpression(Section):
    """A requirement on a node's label."""

    key: LabelKey
    """Label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    """How the label is compared."""
    values: tuple[LabelValue, ...] = ()
    """Values, if the operator takes any."""

    @model_validator(mode="after")
    def _has_values(self) -> NodeExpression:
        if self.operator in ("Exists", "DoesNotExist"):
            if self.values:
                raise ValueError(f"operator {self.operator} takes no values")
        elif not self.values:
            raise ValueError(f"operator {self.operator} needs values")
        elif self.operator in ("Gt", "Lt") and len(self.values) != 1:
            raise ValueError(f"operator {self.operator} needs one value")
        return self


class NodeAffinityTerm(Section):
    """Requirements that a node must meet together; of several terms without weight, meeting one is enough."""

    expressions: Annotated[tuple[NodeExpression, ...], Field(min_length=1)]
    """The requirements."""
    weight: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    """1 to 100: a preference of this weight; 0: required."""


class RetrySettings(Section):
    """How often a failed stage is started again in its pod, and a lost pod is replaced; finished chunks are kept."""

    count: CountOrZero = 3
    """Number of retries, with doubling waits; 0 for none. Exit code 2, a wrong configuration or input, is final."""
    within: Duration = "168h"
    """Time limit from the start of the first attempt: after it no attempt starts, and Argo stops a pod that is
    still running. It covers work and waits together, so allow more time than a stage takes."""

    @model_validator(mode="after")
    def _time_for_one(self) -> RetrySettings:
        if self.count and seconds(self.within) <= FIRST_WAIT_S:
            raise ValueError(f"within, {self.within}, is not longer than the first wait, {FIRST_WAIT_S} s")
        return self


class StageSettings(Section):
    """How the tasks of one stage run."""

    requests: ResourceAmounts | None = None
    """Resources that the scheduler reserves."""
    limits: ResourceAmounts | None = None
    """Resources that a pod must not exceed."""
    gpu: GpuSettings | None = None
    """Accelerators; by default as many as the recipe needs: for the student on vLLM, the guard or the training."""
    shared_memory: Memory | None = None
    """Size of ``/dev/shm``, kept in memory; several GPUs in one pod need some gigabytes."""
    node_selector: dict[LabelKey, LabelValue] | None = None
    """Labels that a node must have."""
    tolerations: tuple[TolerationSettings, ...] | None = None
    """Taints to tolerate."""
    affinity: tuple[NodeAffinityTerm, ...] | None = None
    """Required or preferred nodes."""
    priority_class: ObjectName | None = None
    """PriorityClass of the pods of Jobs. Kubeflow Pipelines and TrainJobs cannot set one: other pods get the label
    ``thinksafe/priority-class``, and an admission policy acts on it (docs/cluster.md shows one)."""
    runtime_class: ObjectName | None = None
    """RuntimeClass, likewise; the label is ``thinksafe/runtime-class``."""
    retries: RetrySettings | None = None
    """Retries after a failure, by default 3; ``diagnose``, ``gate``, ``monitor`` and ``alarm`` have none."""
    deadline: Duration | None = None
    """Time after which a pod is stopped (``activeDeadlineSeconds``); it covers all attempts in the pod. Only ``report``
    has one by default: an hour more than ``start_within``."""
    start_within: Duration | None = None
    """How long a pod may take to start, by default 30m: it may wait for a node, its image or a Secret. Time in Kueue's
    queue does not count. Pods of Jobs are watched by their task, others by ``thinksafe end-stuck``."""

    def excess(self) -> str:
        """Return the first problem of a request above its limit; empty if there is none."""
        for name in ("cpu", "memory"):
            asked, most = (getattr(amounts, name, None) for amounts in (self.requests, self.limits))
            if asked and most and amount(asked) > amount(most):
                return f"requests.{name}, {asked}, is more than limits.{name}, {most}"
        return ""

    def over(self, below: StageSettings) -> StageSettings:
        """Return these settings, completed from ``below``."""
        return StageSettings(
            **{name: mine if (mine := getattr(self, name)) is not None else getattr(below, name)
               for name in StageSettings.model_fields}
        )


class SecurityContextSettings(Section):
    """User of the containers. Kubeflow's backend already drops all capabilities and forbids escalation."""

    run_as_user: UserId = 10001
    """User id; the images work with any."""
    run_as_group: GroupId = 10001
    """Group id."""
