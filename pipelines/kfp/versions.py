"""What makes a version of a pipeline: the whole configuration except how the API is reached."""

from __future__ import annotations

import json
from typing import Any

import yaml

from thinksafe.config.cluster_services import REACH
from thinksafe.config.document import read_yaml

_KFP = ("cluster", "kfp")


def without_reach(document: str, overrides: list[str]) -> tuple[str, list[str]]:
    """Return a document and overrides without ``host``, ``access``, ``token_file`` and ``ca_file`` of ``cluster.kfp``.

    They differ between a pod and a workstation, and runs do not use them. A document that names none stays as it is
    written, with its comments.

    Args:
        document: Configuration: YAML text, valid.
        overrides: ``key=value`` texts, valid.
    """
    value, _ = read_yaml("the config document", document)
    if _drop(value, _KFP):
        document = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    kept: list[str] = []
    for override in overrides:
        key, _, text = override.partition("=")
        place = tuple(key.strip().split("."))
        if place[:2] == _KFP and place[2:] and place[2] in REACH:
            continue
        if place == _KFP[: len(place)]:  # the whole section at once
            value, _ = read_yaml(f"the override of {key}", text)
            if _drop(value, _KFP[len(place):]):
                override = f"{key}={json.dumps(value, ensure_ascii=False)}"
        kept.append(override)
    return document, kept


def _drop(value: Any, place: tuple[str, ...]) -> bool:
    """Remove the keys of the reach from a value, whose section they stand in at a place; returns whether it did."""
    for name in place:
        value = value.get(name) if isinstance(value, dict) else None
    found = [name for name in REACH if isinstance(value, dict) and name in value]
    for name in found:
        del value[name]
    return bool(found)
