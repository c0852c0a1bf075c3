"""All components of a pipeline."""

from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from kfp.dsl import base_component

STAGES = (
    "plan", "prepare", "due", "sample", "judge", "grade", "merge", "diagnose", "curate", "train", "register", "metrics",
    "gate", "promote", "deploy", "plan_evaluation", "monitor", "alarm", "report",
)
"""Stages that have a component, in the order in which a realignment meets them, then those of an evaluation."""

UNCACHED = frozenset(
    {"plan", "due", "register", "gate", "promote", "deploy", "plan_evaluation", "monitor", "alarm", "report"}
)
"""Stages that read or change something outside their inputs (registry, ledger, records), so must always run."""


def load(stage: str, image: str) -> base_component.BaseComponent:
    """Return the component of one stage for an image."""
    component: base_component.BaseComponent = import_module(f"thinksafe_components.{stage}.component").make(image)
    return component


def load_all(
    image: Callable[[str], str], configure: Callable[[str, Any], None] | None = None
) -> SimpleNamespace:
    """Return all components with their images, as attributes named by stage; calling one adds a task.

    Tasks of the stages in :data:`UNCACHED` have caching switched off.

    Args:
        image: Returns the image of a stage; see :mod:`thinksafe_components.images`.
        configure: Called with the stage and each new task, to give it settings of a cluster.
    """
    return SimpleNamespace(**{stage: _task_maker(stage, load(stage, image(stage)), configure) for stage in STAGES})


def _task_maker(
    stage: str, component: base_component.BaseComponent, configure: Callable[[str, Any], None] | None
) -> Any:
    def make(**inputs: Any) -> Any:
        task = component(**inputs)
        if stage in UNCACHED:
            task.set_caching_options(enable_caching=False)
        if configure is not None:
            configure(stage, task)
        return task

    return make
