"""Documents of recipes for three clusters: plain, disconnected, multi-user."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from thinksafe_pipelines.kfp.snapshot import CLUSTERS


def cluster_document(name: str = "plain", *, extends: str = "micro", **changed: Any) -> str:
    """Return a document that lays a cluster over a recipe; ``changed`` replaces keys of the section."""
    return yaml.safe_dump({"extends": extends, "cluster": {**copy.deepcopy(CLUSTERS[name]), **changed}})
