"""A copy of the hub in S3, for clusters without the internet: ``THINKSAFE_HUB_MIRROR``.

Below it lie ``<id>/<commit>/`` for models and ``datasets/<id>/<commit>/`` for data sets, with the files of the hub.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from thinksafe.config.pods import HUB_MIRROR_VARIABLE
from thinksafe.errors import InputError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_hub_id(name: str) -> bool:
    """Return whether a model or data set is named as the hub names them, not by folder or address."""
    return _HUB_ID.fullmatch(name) is not None


def is_commit(revision: str) -> bool:
    """Return whether a revision is a commit, not a branch or tag."""
    return _COMMIT.fullmatch(revision) is not None


def mirrored(name: str, revision: str, *, dataset: bool = False) -> str:
    """Return the ``s3://`` address of the copy of a hub's model or data set; "" where there is no mirror to ask.

    Raises:
        InputError: there is a mirror, and the revision is no commit, so that the copy cannot be told.
    """
    mirror = os.environ.get(HUB_MIRROR_VARIABLE, "").rstrip("/")
    if not mirror or not is_hub_id(name) or Path(name).is_dir():
        return ""
    if not is_commit(revision):
        raise InputError(
            f"{name!r} has no commit as its revision, and the hub's mirror keeps copies by commit.",
            "Run `thinksafe config pin` where the hub can be reached.",
        )
    return f"{mirror}/{'datasets/' if dataset else ''}{name}/{revision}"
