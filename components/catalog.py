"""All components of a pipeline."""

from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from kfp.dsl import base_component

from thinksafe.config.stage_table import STAGES


def load(stage: str, image: str) -> base_component.BaseComponent:
    """Return the component of one stage for an image."""
    component: base_component.BaseComponent = import_module(f"thinksafe_components.{stage}.component").make(image)
    return component


def load_all(
    image: Callable[[str], str], configure: Callable[[str, Any], None] | None = None
) -> SimpleNamespace:
    """Return all components with their images, as attributes named by stage; calling one adds a task.

    Stages that :data:`thinksafe.config.stage_table.STAGES` says not to cache have caching switched off.

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
        if not STAGES[stage].cached:
            task.set_caching_options(enable_caching=False)
        if configure is not None:
            configure(stage, task)
        return task

    return make
