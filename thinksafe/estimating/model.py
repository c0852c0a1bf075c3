"""The estimate of a run, as `thinksafe estimate --json` prints it."""

from __future__ import annotations

from typing import Literal

from thinksafe.estimating.ranges import Range
from thinksafe.records import Count, Record
from thinksafe.run.details import EstimatedHours

Unit = Literal["GPU-hours", "hours of this machine"]


class TaskEstimate(Record):
    """One task."""

    task: str
    stage: str
    prompts: Count
    samples: Range
    """Responses that it samples, judges or grades; examples that it trains on, once each."""
    tokens: Range | None
    """Response tokens that it samples, or tokens that it trains on, all epochs; None for judging and grading."""
    lengths: str
    """Where the tokens are from: ``run <id>``, ``pilot of run <id>`` or ``limits of the configuration``."""
    hours: Range | None
    """In the estimate's unit; None if unknown."""
    gpus: Count
    speed: str
    """Where the hours are from: ``run <id>``, ``arithmetic`` or why they are unknown."""


class MemoryEstimate(Record):
    """Memory that a model takes in a stage, on each of its GPUs."""

    stage: str
    model: str
    gpus: Count
    weights: float | None
    """Bytes; None if unknown."""
    optimizer: float | None = None
    """Bytes of what training adds: gradients, AdamW's moments, an adapter, a frozen copy; None where unknown, or
    nothing is trained."""
    cache: float | None = None
    """Bytes of the KV cache of one response of full length; None where unknown, or nothing is generated."""
    cache_tokens: Count = 0
    """Tokens of prompt and response of that length."""
    memory: float | None = None
    """Bytes that a GPU has, as the configuration says; None if it does not."""
    note: str = ""
    """What is not counted, or why a number is unknown."""

    @property
    def known(self) -> float | None:
        """Sum of what is known, in bytes; None if the weights are not."""
        return None if self.weights is None else self.weights + (self.optimizer or 0.0) + (self.cache or 0.0)

    @property
    def fits(self) -> bool | None:
        """Whether the sum is below the GPU's memory; None if one of them is unknown."""
        return None if self.known is None or not self.memory else self.known <= self.memory


class Estimate(Record):
    """What a run takes if it goes on to its end and finds nothing done in the store."""

    schema_version: Literal[1] = 1
    name: str
    pipeline: str
    unit: Unit
    tasks: tuple[TaskEstimate, ...]
    others: Range | None
    """Hours of the stages that are not listed, as the last run had them; None if there was none, or they hold no
    GPU."""
    prompts: Count
    """Prompts of training and evaluation, each once."""
    samples: Range
    tokens: Range
    """Response tokens that are sampled, those of training included."""
    hours: Range
    """Sum of the tasks whose hours are known, and of the others."""
    money: Range | None
    currency: str
    storage: Range
    """Bytes of rows, and of what is trained."""
    memory: tuple[MemoryEstimate, ...]
    runs: tuple[str, ...]
    """Earlier runs that it rests on."""
    unknown: tuple[str, ...]
    """What is unknown, one sentence each; the sums are then too small."""
    notes: tuple[str, ...] = ()
    limit: float | None = None
    """``cost.limit_gpu_hours``."""

    @property
    def known(self) -> bool:
        """Whether the hours of all tasks are known."""
        return not self.unknown

    @property
    def largest(self) -> TaskEstimate | None:
        """The task with the most hours."""
        timed = [task for task in self.tasks if task.hours is not None]
        return max(timed, key=lambda task: task.hours.point if task.hours else 0.0, default=None)

    @property
    def note(self) -> EstimatedHours | None:
        """What the run's record keeps of it; None if it says nothing about time."""
        if not self.hours.point:
            return None
        return EstimatedHours(
            **self.hours.model_dump(), gpus=self.unit == "GPU-hours", runs=self.runs, complete=self.known
        )
