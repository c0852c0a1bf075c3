"""What Argo keeps of a run of a compiled pipeline, in one object, and what Kubernetes does where it grows too large.

As seen on a cluster (Kubeflow Pipelines 2.17 on Argo 4.1): the object holds the specification, with component, task,
container and Kubernetes settings as JSON in parameters, equal ones once, and the status of each node with its inputs,
among them the same texts again. A task has a driver and an executor, each a retry node and a pod node: 30 kB, which
become 4 to 6 kB compressed. Argo compresses the status where the object has more than 1 MiB; Kubernetes stores 1 MiB at
most, and takes 3 MiB in a request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

STORED, WIRE = 1024 * 1024, 3 * 1024 * 1024
TEMPLATE = 2100
"""Bytes of the template of a task."""
NODES, NODE = 2, 2800
"""Nodes of a pod, and bytes of each besides its inputs: a task of ours has the 30 kB that were measured then."""
COMPRESSED = 6
"""How many bytes of status become one."""


class TooLargeError(Exception):
    """Kubernetes refuses the object: the run ends, no exit task starts, and pods that run go on."""


@dataclass
class Workflow:
    """The object of one run.

    Args:
        spec: The pipeline, the first document of its IR YAML.
        platform: Settings of the executors, of the second document.
    """

    spec: dict[str, Any]
    platform: dict[str, Any]
    status: int = 0
    """Bytes, not compressed."""

    def __post_init__(self) -> None:
        executors = self.spec["deploymentSpec"]["executors"]
        groups = [self.spec["root"], *self.spec["components"].values()]
        tasks = [task for group in groups for task in group.get("dag", {}).get("tasks", {}).values()]
        texts = {text(part) for part in (*groups, *executors.values(), *self.platform.values())}
        self._specification = sum(map(len, texts)) + sum(len(text(task)) + TEMPLATE for task in tasks)

    @property
    def bytes(self) -> int:
        """Size of the object with its status compressed."""
        return self._specification + self.status // COMPRESSED

    def add(self, task: dict[str, Any], component: dict[str, Any]) -> None:
        """Add the nodes of a pod that starts, a driver's or an executor's. Raises TooLargeError."""
        inputs = [component, task]
        if label := component.get("executorLabel", ""):
            inputs += [self.spec["deploymentSpec"]["executors"][label], self.platform.get(label, {})]
        self.status += NODES * (NODE + sum(len(text(part)) for part in inputs))
        if self._specification + self.status > WIRE:
            raise TooLargeError(f"Request entity too large: limit is {WIRE}")
        if min(self.bytes, self._specification + self.status) > STORED:
            raise TooLargeError("Workflow is longer than maximum allowed size for persistence")


def text(part: Any) -> str:
    """Return a part as the JSON text that a parameter holds."""
    return json.dumps(json.dumps(part, sort_keys=True))
