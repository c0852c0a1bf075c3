"""Keys of earlier versions, and what to write instead."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from thinksafe.config.document import Location

REMOVED = {
    "*.prompts.*_field": "the names of fields are in fields, e.g. fields: {prompt: question}",
    "audit": "the options of `thinksafe audit sample` say it",
    "cluster.kfp.token_env": "the variable is KFP_TOKEN",
    "cluster.model_cache.path": "/cache, always",
    "cluster.stages.*.retries.backoff": "30 s, doubled each time",
    "cluster.stages.*.retries.factor": "30 s, doubled each time",
    "cluster.train_job.keep": "24 h, always",
    "data.ngram": "13 words in sequence, always",
    "deploy.extra_args": "write deploy.options, e.g. options: {enable_prefix_caching: true}",
    "deploy.max_model_len": "write deploy.options.max_model_len",
    "deploy.verification.alpha": "gate.alpha holds",
    "deploy.verification.max_tokens": "64, always",
    "deploy.verification.timeout": "a request may take longer the more tokens it may write",
    "deploy.verification.workers": "8, always",
    "diagnose.alpha": "gate.alpha holds",
    "engine.timeout": "a request may take longer the more tokens it may write",
    "guard.*.min_mass": "one half, always",
    "training.kl_chunk": "64 tokens, always",
}
"""What became of a key, by a pattern of its path."""

LOSSES = {"ce": "cross-entropy", "kl": "kl"}
"""Values of ``training.benign_loss``, and those of ``method.benign_loss``."""


def became_of(path: str) -> str:
    """Return what became of a key that earlier versions had; empty for one that there never was."""
    return next((what for pattern, what in REMOVED.items() if fnmatchcase(path, pattern)), "")


def moved_keys(value: dict[str, Any]) -> tuple[list[tuple[Location, str]], str]:
    """Return where a realignment's document has keys of an earlier version, and the line to write in their place.

    Each place comes with what became of the key.
    """
    method, steering, training = value.get("method"), value.get("steering"), value.get("training")
    found: list[tuple[Location, str]] = []
    new: dict[str, Any] = {"kind": "thinksafe"} | (method if isinstance(method, dict) else {})
    if isinstance(method, str):
        new["kind"] = method
        found.append((("method",), "is method.kind"))
    if "steering" in value and not isinstance(steering, dict):
        found.append((("steering",), "is method.steering, the name of a template"))
    for key, setting in steering.items() if isinstance(steering, dict) else ():
        said = {"enabled": "false is method.kind: rejection, true the default", "template": "is method.steering"}
        found.append((("steering", key), said.get(key, "is no key")))
        if key == "enabled" and setting is False:
            new["kind"] = "rejection"
        if key == "template":
            new["steering"] = setting
    if isinstance(training, dict) and "benign_loss" in training:
        loss = training["benign_loss"]
        new["benign_loss"] = LOSSES.get(str(loss), loss)
        found.append((("training", "benign_loss"), "is method.benign_loss"))
    if new["kind"] == "rejection":
        new.pop("steering", None)
    options = ", ".join(f"{key}: {item if isinstance(item, str) else json.dumps(item)}" for key, item in new.items())
    return found, f"method: {{{options}}}"
