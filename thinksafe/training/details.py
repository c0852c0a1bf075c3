"""The details that train records (:mod:`thinksafe.run.details`)."""

from __future__ import annotations

from pydantic import ConfigDict

from thinksafe.records import Count
from thinksafe.run.details import DecisionDetails, Lenient
from thinksafe.training.drift import Drift


class CurvePoint(Lenient):
    """One logged step of training, with everything else that the trainer logged."""

    model_config = ConfigDict(extra="allow")

    step: float
    loss: float | None = None
    learning_rate: float | None = None


class TrainDetails(DecisionDetails):
    """Of train."""

    curve: tuple[CurvePoint, ...] = ()
    drift: tuple[Drift, ...] = ()
    steps: Count = 0
    warmup_steps: Count = 0
    """Steps of the warm-up, of which the first is at rate 0; fewer than ``training.warmup_ratio`` asks for where they
    would leave no step after them."""
    adapter: str = ""
    """Key of the adapter in the store; empty if all weights were trained."""
    adapter_digest: str = ""
    weights: str = ""
    """Key of the folder with all weights in the store; empty if an adapter was trained."""
    weights_digest: str = ""
    processes: Count = 0
    nodes: Count = 0
    share: float = 1.0
    """Part of the parameters that one process held."""
    dropped_too_long: Count = 0
    dropped_special_token: Count = 0
    dropped_altered: Count = 0
    dropped_no_thought: Count = 0
