"""How large the workflow of a pipeline becomes on a cluster.

Argo keeps a run in one object: specification, arguments and the status of all nodes, the status compressed. Kubernetes
refuses one of more than about 1 MiB, in the middle of a run (kubeflow/pipelines#13738). The estimate follows what
Kubeflow Pipelines 2.17 makes of IR YAML: component, container and Kubernetes settings are JSON in parameters of the
workflow, equal ones once, and each task and group is a template. The constants follow from measurements on a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from thinksafe.errors import ConfigError

LIMIT = 1024 * 1024
"""Bytes at which Kubernetes refuses the object."""
TEMPLATE = 2100
"""Bytes of the template of a task or group besides its specification: 185 kB, 55 of them specifications, for 62."""
STATUS = 5000
"""Bytes of compressed status of a task or group: its driver, its pod, their retries and their inputs."""


def workflow_size(spec: Mapping[str, Any], platform: Mapping[str, Any] | None = None) -> int:
    """Return the bytes of a pipeline's workflow at the end of a run in which every task ran once.

    Args:
        spec: The pipeline, the first document of its IR YAML.
        platform: The second document: what only Kubernetes knows.
    """
    groups = [spec["root"], *spec["components"].values()]
    tasks = [task for group in groups for task in group.get("dag", {}).get("tasks", {}).values()]
    containers = (executor["container"] for executor in spec["deploymentSpec"]["executors"].values())
    pods = (platform or {}).get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    parameters = sum(_distinct(part) for part in (groups, containers, pods.values()))
    return parameters + sum(map(_escaped, tasks)) + len(tasks) * (TEMPLATE + STATUS)


def require_size(path: Path) -> None:
    """Refuse a compiled pipeline whose workflow will not fit. Raises ConfigError."""
    documents = list(yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader))
    size = workflow_size(*documents)
    if size > LIMIT and (methods := _methods(documents[0])) > 1:
        raise ConfigError(
            f"A run of the pipeline {documents[0]['pipelineInfo']['name']!r} with {methods} methods would take about "
            f"{size // 1000} kB of the {LIMIT // 1000} kB that Kubernetes allows for one workflow; about "
            f"{_fitting(documents[0], size, methods)} methods fit.",
            "Split compare into several configs with the same other settings; with one store, base and samples are "
            "not made again. Or shorten the config and the settings of cluster.",
        )
    if size > LIMIT:
        config = documents[0]["root"].get("inputDefinitions", {}).get("parameters", {}).get("config", {})
        text = len(str(config.get("defaultValue", "")))
        raise ConfigError(
            f"A run of the pipeline {documents[0]['pipelineInfo']['name']!r} would take about {size // 1000} kB of the "
            f"{LIMIT // 1000} kB that Kubernetes allows for one workflow; the config document is {text // 1000} kB of "
            "it, the rest are the settings of the pods.",
            "Shorten the config, its comments first, and the labels, annotations, secrets and config_maps of cluster.",
        )


def _methods(spec: Mapping[str, Any]) -> int:
    """Return the methods that a pipeline compares: it has a gate for each."""
    executors = spec["deploymentSpec"]["executors"].values()
    return sum(executor["container"]["command"][1] == "gate" for executor in executors)


def _fitting(spec: Mapping[str, Any], size: int, methods: int) -> int:
    """Return about how many methods fit, if each has as many tasks as these have on average."""
    components = spec["components"]
    groups = [spec["root"], *components.values()]
    tasks = sum(len(group.get("dag", {}).get("tasks", {})) for group in groups)
    outer = [spec["root"]["dag"], *(components[task["componentRef"]["name"]].get("dag", {}) for task in
             spec["root"]["dag"]["tasks"].values())]
    shared = sum(
        "dag" not in components[task["componentRef"]["name"]] for dag in outer for task in dag.get("tasks", {}).values()
    )
    each = (tasks - shared) / methods
    return max(int((LIMIT / (size / tasks) - shared) / each), 1)


def _distinct(parts: Iterable[Any]) -> int:
    return sum(len(text) for text in {json.dumps(json.dumps(part, sort_keys=True)) for part in parts})


def _escaped(part: Any) -> int:
    return len(json.dumps(json.dumps(part)))
