"""Which image each stage runs in."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from thinksafe import __version__
from thinksafe.config.stage_table import STAGES

VARIABLE = "THINKSAFE_IMAGE"
"""Environment variable that replaces all default images when compiling; ``THINKSAFE_IMAGE_CPU``,
``THINKSAFE_IMAGE_SAMPLER`` and ``THINKSAFE_IMAGE_TRAINER`` replace one."""


class Images(NamedTuple):
    """The images of a pipeline, by kind (``images/`` contains their Dockerfiles).

    They are the setting of a pipeline without a cluster (:class:`thinksafe_components.catalog.Setting`).
    """

    cpu: str
    sampler: str
    trainer: str

    def image(self, stage: str) -> str:
        """Return the image of a stage."""
        image: str = getattr(self, STAGES[stage].image)
        return image

    def configure(self, stage: str, section: str, task: Any) -> None:
        """Give a task nothing: only a cluster has settings for it."""


WITHOUT_GPU = {"sampler": "trainer-cpu", "trainer": "trainer-cpu"}
"""Images on a machine without GPU: sampling is on transformers there, unless the environment names another image."""


def default_images(*, gpu: bool = True) -> Images:
    """Return the images of a pipeline when none are named.

    Args:
        gpu: Whether the stages that want a GPU get one.
    """
    everything, others = os.environ.get(VARIABLE), {} if gpu else WITHOUT_GPU
    return Images(
        *(
            os.environ.get(f"{VARIABLE}_{kind.upper()}") or everything
            or f"thinksafe/{others.get(kind, kind)}:{__version__}"
            for kind in Images._fields
        )
    )
