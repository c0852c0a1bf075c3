"""All components of a pipeline."""

from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol

from kfp.dsl import base_component

from thinksafe.config.stage_table import STAGES


class Setting(Protocol):
    """Where a pipeline runs: the images of its tasks, and what a cluster gives them."""

    def image(self, stage: str) -> str:
        """Return the image of a stage."""
        ...

    def configure(self, stage: str, section: str, task: Any) -> None:
        """Give a new task of a stage, which works on a section of the plan, its settings."""
        ...


@cache
def load(stage: str, image: str) -> base_component.BaseComponent:
    """Return the component of one stage for an image."""
    component: base_component.BaseComponent = import_module(f"thinksafe_components.{stage}.component").make(image)
    return component


def load_all(setting: Setting) -> SimpleNamespace:
    """Return all components, as attributes named by stage; calling one adds a task.

    Stages that :data:`thinksafe.config.stage_table.STAGES` says not to cache have caching switched off.
    """
    return SimpleNamespace(**{stage: _task_maker(stage, setting) for stage in STAGES})


def _task_maker(stage: str, setting: Setting) -> Any:
    def make(**inputs: Any) -> Any:
        task = load(stage, setting.image(stage))(**inputs)
        if not STAGES[stage].cached:
            task.set_caching_options(enable_caching=False)
        setting.configure(stage, inputs.get("section", stage), task)
        return task

    return make
