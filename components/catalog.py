"""All components of a pipeline."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from kfp.dsl import base_component

from thinksafe_components.images import Images

STAGES = (
    "plan", "prepare", "sample", "judge", "grade", "merge", "diagnose", "curate", "train", "register", "metrics",
    "gate", "promote", "deploy", "plan_evaluation", "compare", "alarm", "report",
)
"""Stages that have a component, in the order in which a realignment meets them, then those of an evaluation."""

UNCACHED = frozenset({"plan", "register", "gate", "promote", "deploy", "plan_evaluation", "compare", "alarm", "report"})
"""Stages that read or change something outside their inputs (registry, ledger, records), so must always run."""


def load(stage: str, image: str) -> base_component.BaseComponent:
    """Return the component of one stage for an image."""
    component: base_component.BaseComponent = import_module(f"thinksafe_components.{stage}.component").make(image)
    return component


def load_all(images: Images) -> SimpleNamespace:
    """Return all components with their images, as attributes named by stage; calling one adds a task.

    Tasks of the stages in :data:`UNCACHED` have caching switched off.
    """
    return SimpleNamespace(**{stage: _task_maker(stage, load(stage, images.of(stage))) for stage in STAGES})


def _task_maker(stage: str, component: base_component.BaseComponent) -> Any:
    if stage not in UNCACHED:
        return component
    return lambda **inputs: component(**inputs).set_caching_options(enable_caching=False)
