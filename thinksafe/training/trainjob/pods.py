"""The pods of a TrainJob: what keeps them from running, what ended them, and the last lines of their logs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from thinksafe.credentials import scrubbed
from thinksafe.errors import StageError
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.text import clean
from thinksafe.training.trainjob.manifest import NODE

JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"
"""Trainer creates a JobSet with the TrainJob's name, which labels its pods."""
LINES, WIDTH, PODS, TEXT = 15, 200, 3, 3500
"""Limits of the logs in an error: lines per pod, characters per line, pods, and characters in all."""
STUCK_SECONDS = 300.0
"""How long a container may fail to start: a second attempt may succeed in pulling its image."""
_STUCK = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "CreateContainerConfigError",
    "CreateContainerError",
}
_HOPELESS = {"InvalidImageName"}
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_ACTIONS = {
    "OOMKilled": "Raise cluster.stages.train.limits.memory, or lower training.micro_batch_size or training.max_length.",
    "Evicted": "Raise cluster.stages.train.requests, so that the node does not run out of resources.",
}


class End(NamedTuple):
    """How a pod's container ended."""

    pod: str
    reason: str
    """``OOMKilled``, ``Error``, ``Evicted`` ..."""
    code: int
    at: str
    """Time, in Kubernetes' format."""
    lines: tuple[str, ...] = ()
    """Last lines of its log, for the first pods that ended."""

    def text(self) -> str:
        """Return a description of the end, with its log lines."""
        code = f", exit code {self.code}" if self.code else ""
        said = "".join(f"\n    {line}" for line in self.lines)
        return f"{self.pod}: {self.reason}{code}{':' if said else ''}{said}"


def pods_of(api: KubernetesClient, name: str) -> list[Object]:
    """Return the pods of a job. Raises StageError."""
    return api.find("Pod", {JOB_LABEL: name})


class Waiting:
    """Notices pods that do not start to run.

    Args:
        pending: Seconds that a pod may wait for a node.
        stuck: Seconds that a container may fail to start.
    """

    def __init__(self, pending: float, stuck: float = STUCK_SECONDS) -> None:
        self._limits = {"pending": pending, "stuck": stuck}
        self._since: dict[tuple[str, str], float] = {}

    def trouble(self, pods: list[Object]) -> StageError | None:
        """Return why waiting longer will not make a pod run, or None. Call it repeatedly."""
        now, seen = time.monotonic(), set()
        for pod in pods:
            for kind, error in _obstacles(pod):
                key = (str(pod["metadata"].get("uid") or pod["metadata"]["name"]), kind)
                seen.add(key)
                if kind == "hopeless" or now - self._since.setdefault(key, now) >= self._limits[kind]:
                    return error
        self._since = {key: since for key, since in self._since.items() if key in seen}
        return None


def _obstacles(pod: Object) -> Iterator[tuple[str, StageError]]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            yield "pending", StageError(
                f"No node can take the pod {name}: {_line(str(condition.get('message', '')), 400)}",
                "Free GPUs, correct cluster.stages.train (gpu, node_selector, tolerations), or raise "
                "cluster.train_job.pending.",
            )
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason") or ""
        if reason in _STUCK | _HOPELESS:
            image = "Image" in reason or reason == "RegistryUnavailable"
            yield "hopeless" if reason in _HOPELESS else "stuck", StageError(
                f"The pod {name} does not start: {reason}: {_line(str(waiting.get('message', '')), 400)}",
                "Check cluster.images.trainer, cluster.image_pull_secrets and the network policy." if image
                else "Check the secrets and config maps that the cluster section names.",
            )


def ends(api: KubernetesClient, pods: list[Object], known: Sequence[End] = ()) -> list[End]:
    """Return how failed containers of pods ended, the first one first.

    Args:
        api: Client of the namespace.
        pods: The pods.
        known: Earlier result: logs in it are not read again.
    """
    found: list[End] = []
    previous: set[str] = set()
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        container: Object = next((one for one in status.get("containerStatuses") or [] if one["name"] == NODE), {})
        now = (container.get("state") or {}).get("terminated") or {}
        before = (container.get("lastState") or {}).get("terminated") or {}
        ended = now if now.get("exitCode") else before if before.get("exitCode") else {}
        if ended:
            if ended is before:
                previous.add(name)
            found.append(End(name, ended.get("reason") or "Error", ended["exitCode"], ended.get("finishedAt") or ""))
        elif status.get("phase") == "Failed":  # evicted, or its node is lost
            reason, message = status.get("reason") or "Failed", _line(str(status.get("message") or ""), 400)
            found.append(End(name, reason, 0, "", (message,) if message else ()))
    # those without a time first: the cluster ended such a pod
    found.sort(key=lambda end: end.at)
    read = {end[:4]: end for end in known if end.lines}
    for place, end in enumerate(found[:PODS]):
        if end.code:
            found[place] = read.get(end[:4]) or end._replace(
                lines=_lines(api, end.pod, previous=end.pod in previous)
            )
    return found


def told(found: list[End]) -> tuple[str, str]:
    """Return a description of the ends of pods, and what to do; empty if there are none."""
    texts = [end.text() for end in found[:PODS]]
    words = "\n  ".join(text for at, text in enumerate(texts) if not at or sum(map(len, texts[: at + 1])) <= TEXT)
    action = next((_ACTIONS[end.reason] for end in found if end.reason in _ACTIONS), "")
    return words, action


def phases(pods: list[Object]) -> str:
    """Return how many pods are in each phase, in words."""
    named = [str((pod.get("status") or {}).get("phase") or "Unknown") for pod in pods]
    return ", ".join(f"{named.count(phase)} {phase}" for phase in sorted(set(named))) or "no pods"


def _lines(api: KubernetesClient, pod: str, *, previous: bool) -> tuple[str, ...]:
    try:
        log = api.logs(pod, NODE, 4 * LINES, previous=previous)
    except StageError as error:
        return (f"(cannot read its log: {_line(error.problem, 200)})",)
    # a progress bar overwrites its line
    lines = [_line(line.rstrip("\r").rpartition("\r")[2]) for line in log.split("\n")]
    return tuple([line for line in lines if line.strip()][-LINES:])


def _line(text: str, width: int = WIDTH) -> str:
    return clean(scrubbed(_COLOURS.sub("", text)).replace("\n", " ").replace("\t", " "), width).rstrip()
