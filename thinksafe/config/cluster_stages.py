"""Configuration of single stages on a cluster: resources, placement, retries, deadline.

Every field may be left out: a stage takes what it does not say from ``default``.
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
"""Seconds before a failed task is started again for the first time; each wait is twice the one before."""


class ResourceAmounts(Section):
    """Amounts of CPU and memory; Kubeflow Pipelines takes no other kinds."""

    cpu: Cpu | None = None
    """Cores, e.g. ``4`` or ``500m``."""
    memory: Memory | None = None
    """Bytes, e.g. ``16Gi``."""


class GpuSettings(Section):
    """Accelerators of a pod."""

    type: ExtendedResource = "nvidia.com/gpu"
    """Name of the extended resource: ``nvidia.com/gpu``, ``amd.com/gpu``, ``nvidia.com/mig-3g.40gb``."""
    count: CountOrZero = 1
    """How many, all on one node; 0 takes none, though ``default`` has some or the recipe needs them."""


class TolerationSettings(Section):
    """A taint that the stage's pods bear."""

    key: LabelKey | Literal[""] = ""
    """Key of the taint; empty, with ``Exists``, bears them all."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """``Equal`` compares ``value`` too."""
    value: LabelValue = ""
    """Value of the taint."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect that is borne; empty bears all."""
    seconds: Annotated[int, Field(ge=0, le=YEAR_S, strict=True)] | None = None
    """With ``NoExecute``: how long it is borne; for ever by default."""

    @model_validator(mode="after")
    def _makes_sense(self) -> TolerationSettings:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value; write operator: Equal")
        if self.operator == "Equal" and not self.key:
            raise ValueError("operator Equal needs a key")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("seconds mean something with effect NoExecute only")
        return self


class NodeExpression(Section):
    """A demand on a node's label."""

    key: LabelKey
    """Label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    """How it is compared."""
    values: tuple[LabelValue, ...] = ()
    """Values, where the operator takes some."""

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
    """Demands that a node has to meet together; of several terms without weight one is enough."""

    expressions: Annotated[tuple[NodeExpression, ...], Field(min_length=1)]
    """What is demanded."""
    weight: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    """1 to 100: a preference of this weight; 0: required."""


class RetrySettings(Section):
    """How often a failed task is started again, after waits that double; finished chunks are kept."""

    count: CountOrZero = 3
    """Further attempts; 0 for none."""
    within: Duration = "168h"
    """Counted from the start of the first attempt: later none is started, and one that still runs is ended. It bounds
    work and waits together, so give it more than a stage takes."""

    @model_validator(mode="after")
    def _time_for_one(self) -> RetrySettings:
        if self.count and seconds(self.within) <= FIRST_WAIT_S:
            raise ValueError(f"within, {self.within}, is not longer than the first wait, {FIRST_WAIT_S} s")
        return self


class StageSettings(Section):
    """How the tasks of one stage run."""

    requests: ResourceAmounts | None = None
    """What the scheduler reserves."""
    limits: ResourceAmounts | None = None
    """What a pod may not exceed."""
    gpu: GpuSettings | None = None
    """Accelerators; by default as many as the recipe needs: for the student on vLLM, the guard, the training."""
    shared_memory: Memory | None = None
    """Size of ``/dev/shm``, kept in memory; several GPUs in one pod need some gigabytes."""
    node_selector: dict[LabelKey, LabelValue] | None = None
    """Labels that a node must have."""
    tolerations: tuple[TolerationSettings, ...] | None = None
    """Taints that are borne."""
    affinity: tuple[NodeAffinityTerm, ...] | None = None
    """Nodes that are required or preferred."""
    priority_class: ObjectName | None = None
    """PriorityClass. Kubeflow Pipelines sets none: the pods get the label ``thinksafe/priority-class``, on which an
    admission policy acts (docs/cluster.md shows one)."""
    runtime_class: ObjectName | None = None
    """RuntimeClass, by the label ``thinksafe/runtime-class``, likewise."""
    retries: RetrySettings | None = None
    """Further attempts after a failure, 3 by default; ``diagnose``, ``gate``, ``monitor`` and ``alarm`` have none."""
    deadline: Duration | None = None
    """After so long a pod is ended (``activeDeadlineSeconds``)."""

    def excess(self) -> str:
        """Return the resource of which more is requested than the limit allows; empty where there is none."""
        for name in ("cpu", "memory"):
            asked, most = (getattr(amounts, name, None) for amounts in (self.requests, self.limits))
            if asked and most and amount(asked) > amount(most):
                return f"requests.{name}, {asked}, is more than limits.{name}, {most}"
        return ""

    def over(self, below: StageSettings) -> StageSettings:
        """Return these settings, with those of ``below`` where nothing is said."""
        return StageSettings(
            **{name: mine if (mine := getattr(self, name)) is not None else getattr(below, name)
               for name in StageSettings.model_fields}
        )


class SecurityContextSettings(Section):
    """User of the containers. Kubeflow's backend drops all capabilities and forbids escalation by itself."""

    run_as_user: UserId = 10001
    """User id; the images are made for any."""
    run_as_group: GroupId = 10001
    """Group id."""
