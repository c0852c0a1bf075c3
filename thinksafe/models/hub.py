"""The hub: which names are hub ids, the current commit of an id, and the copy in S3 for clusters without internet.

``THINKSAFE_HUB_MIRROR`` contains ``<id>/<commit>/`` for models and ``datasets/<id>/<commit>/`` for data sets, with the
files of the hub.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from thinksafe.config.pods import HUB_MIRROR_VARIABLE
from thinksafe.errors import InputError

TIMEOUT = 20.0
"""Time limit for an answer of the hub, in seconds."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_hub_id(name: str) -> bool:
    """Return whether the name of a model or data set is a hub id, not a folder or an address."""
    return _HUB_ID.fullmatch(name) is not None


def is_commit(revision: str) -> bool:
    """Return whether a revision is a commit, not a branch or tag."""
    return _COMMIT.fullmatch(revision) is not None


def mirrored(name: str, revision: str, *, dataset: bool = False) -> str:
    """Return the ``s3://`` address of the copy of a model or data set of the hub; "" if there is no mirror.

    Raises:
        InputError: there is a mirror but the revision is not a commit, so the copy is ambiguous.
    """
    mirror = os.environ.get(HUB_MIRROR_VARIABLE, "").rstrip("/")
    if not mirror or not is_hub_id(name) or Path(name).is_dir():
        return ""
    if not is_commit(revision):
        raise InputError(
            f"The revision of {name!r} is not a commit, and the hub's mirror keeps copies by commit.",
            "Run `thinksafe config pin` on a machine that can reach the hub.",
        )
    return f"{mirror}/{'datasets/' if dataset else ''}{name}/{revision}"


def hub_commit(key: str, name: str, revision: str, *, dataset: bool = False) -> tuple[str, set[str]]:
    """Return the current commit of a model or data set of the hub, and the names of its files.

    Args:
        key: Configuration key, for errors.
        name: Id on the hub.
        revision: Branch, tag or commit; empty for the main branch.
        dataset: Whether the id is that of a data set.

    Raises:
        InputError: the hub does not give access to it or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    ask = HfApi().dataset_info if dataset else HfApi().model_info
    try:
        info = ask(name, revision=revision or None, timeout=TIMEOUT)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError(
            f"{key}: the hub gives no access to {name!r} ({type(error).__name__}).",
            f"Check the name and the revision ({key}); private and gated ones need HF_TOKEN.",
        ) from error
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        raise InputError(
            f"{key}: the hub cannot be reached to resolve {name!r} ({type(error).__name__}).",
            "Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, or set the revision to a commit.",
        ) from error
    if not is_commit(info.sha or ""):
        raise InputError(f"{key}: the hub returned no commit of {name!r}.", "Set the revision to a commit by hand.")
    return str(info.sha), {file.rfilename for file in info.siblings or []}
