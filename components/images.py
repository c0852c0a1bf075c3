"""Which image each stage runs in."""

from __future__ import annotations

import os
from typing import NamedTuple

from thinksafe import __version__

VARIABLE = "THINKSAFE_IMAGE"
"""Environment variable that replaces all default images when compiling; ``THINKSAFE_IMAGE_CPU``,
``THINKSAFE_IMAGE_SAMPLER`` and ``THINKSAFE_IMAGE_TRAINER`` replace one."""

KINDS = {"sample": "sampler", "judge": "sampler", "train": "trainer"}
"""Kind of image by stage; all other stages need no GPU and run in ``cpu``."""


class Images(NamedTuple):
    """The images of a pipeline, by kind (``images/`` holds their Dockerfiles)."""

    cpu: str
    sampler: str
    trainer: str

    def of(self, stage: str) -> str:
        """Return the image of a stage."""
        image: str = getattr(self, KINDS.get(stage, "cpu"))
        return image


def default_images() -> Images:
    """Return the images that are compiled into pipelines when none are named."""
    everything = os.environ.get(VARIABLE)
    return Images(
        *(
            os.environ.get(f"{VARIABLE}_{kind.upper()}") or everything or f"thinksafe/{kind}:{__version__}"
            for kind in Images._fields
        )
    )
