"""Keys of earlier versions, and what to write instead."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from thinksafe.config.document import Location

REMOVED = {
    "*.prompts.*_field": "field names are now in fields, e.g. fields: {prompt: question}",
    "audit": "use the options of `thinksafe audit sample`",
    "cluster.jobs.sections": "it follows from sampling.parallelism and evaluation.parallelism",
    "cluster.kfp.token_env": "the variable is now always KFP_TOKEN",
    "cluster.model_cache.path": "/cache, always",
    "cluster.stages.*.retries.backoff": "the wait is 30 s, doubled each time",
    "cluster.stages.*.retries.factor": "the wait is 30 s, doubled each time",
    "cluster.train_job.keep": "it is always 24 h",
    "cluster.train_job.pending": "write cluster.stages.train.start_within",
    "cluster.train_job.queue": "write cluster.jobs.queue",
    "cluster.train_job.service_account": "write cluster.jobs.service_account",
    "data.ngram": "it is always 13 consecutive words",
    "deploy.adapter_image": "is now deploy.fetch_image",
    "deploy.extra_args": "write deploy.options, e.g. options: {enable_prefix_caching: true}",
    "deploy.max_model_len": "write deploy.options.max_model_len",
    "deploy.verification.alpha": "gate.alpha holds",
    "deploy.verification.max_tokens": "64, always",
    "deploy.verification.timeout": "the time limit follows from the number of tokens",
    "deploy.verification.workers": "8, always",
    "diagnose.alpha": "gate.alpha holds",
    "engine.timeout": "the time limit follows from the number of tokens",
    "evaluation.shards": "write evaluation.parallelism",
    "guard.*.min_mass": "it is always 0.5",
    "sampling.shards": "write sampling.parallelism",
    "training.kl_chunk": "it is always 64 tokens",
}
"""What replaced a key, by a pattern of its path."""

LOSSES = {"ce": "cross-entropy", "kl": "kl"}
"""Values of ``training.benign_loss`` and the matching ones of ``method.benign_loss``."""


def became_of(path: str) -> str:
    """Return what replaced a key of an earlier version; empty if there was no such key."""
    return next((what for pattern, what in REMOVED.items() if fnmatchcase(path, pattern)), "")


def moved_keys(value: dict[str, Any]) -> tuple[list[tuple[Location, str]], str]:
    """Return where a realignment's document has keys of an earlier version, and the line to write instead.

    Each place comes with what replaced the key.
    """
    method, steering, training = value.get("method"), value.get("steering"), value.get("training")
    found: list[tuple[Location, str]] = []
    new: dict[str, Any] = {"kind": "thinksafe"} | (method if isinstance(method, dict) else {})
    if isinstance(method, str):
        new["kind"] = method
        found.append((("method",), "is now method.kind"))
    if "steering" in value and not isinstance(steering, dict):
        found.append((("steering",), "is now method.steering, the name of a template"))
    for key, setting in steering.items() if isinstance(steering, dict) else ():
        said = {"enabled": "false is now method.kind: rejection", "template": "is now method.steering"}
        found.append((("steering", key), said.get(key, "is not a key")))
        if key == "enabled" and setting is False:
            new["kind"] = "rejection"
        if key == "template":
            new["steering"] = setting
    if isinstance(training, dict) and "benign_loss" in training:
        loss = training["benign_loss"]
        new["benign_loss"] = LOSSES.get(str(loss), loss)
        found.append((("training", "benign_loss"), "is now method.benign_loss"))
    if new["kind"] == "rejection":
        new.pop("steering", None)
    options = ", ".join(f"{key}: {item if isinstance(item, str) else json.dumps(item)}" for key, item in new.items())
    return found, f"method: {{{options}}}"
