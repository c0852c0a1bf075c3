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
    if size > LIMIT:
        config = documents[0]["root"].get("inputDefinitions", {}).get("parameters", {}).get("config", {})
        text = len(str(config.get("defaultValue", "")))
        raise ConfigError(
            f"A run of the pipeline {documents[0]['pipelineInfo']['name']!r} would take about {size // 1000} kB of the "
            f"{LIMIT // 1000} kB that Kubernetes allows for one workflow; the config document is {text // 1000} kB of "
            "it, the rest are the settings of the pods.",
            "Shorten the config, its comments first, and the labels, annotations, secrets and config_maps of cluster.",
        )


def _distinct(parts: Iterable[Any]) -> int:
    return sum(len(text) for text in {json.dumps(json.dumps(part, sort_keys=True)) for part in parts})


def _escaped(part: Any) -> int:
    return len(json.dumps(json.dumps(part)))
