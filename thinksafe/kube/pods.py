"""The pods of a job: what keeps them from running, what ended them, and the last lines of their logs."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from thinksafe.config.stage_table import spec_of
from thinksafe.credentials import scrubbed
from thinksafe.errors import StageError
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.text import clean

LINES, WIDTH, PODS, TEXT = 15, 200, 3, 3500
"""Limits of the logs in an error: lines per pod, characters per line, pods, and characters in all."""
_STUCK = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "CreateContainerConfigError",
    "CreateContainerError",
}
_HOPELESS = {"InvalidImageName"}
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class PodKind:
    """Which pods belong to a job, and which settings they follow."""

    stage: str
    """Stage whose settings they have, as in ``cluster.stages``."""
    container: str
    """Container that does the work."""
    label: str
    """Label whose value is the job's name."""
    lighter: str = ""
    """Settings that need less memory when they are lower, for the advice; empty for none."""
    elastic: bool = False
    """One pod is enough: any can take over the work of another. Otherwise all have to run."""

    def of(self, api: KubernetesClient, name: str) -> list[Object]:
        """Return the pods of a job. Raises StageError."""
        return api.find("Pod", {self.label: name})

    def action(self, reason: str) -> str:
        """Return what to do about pods that ended for a reason; empty if nothing is known."""
        settings = f"cluster.stages.{self.stage}"
        lower = f", or lower {self.lighter}" if self.lighter else ""
        return {
            "OOMKilled": f"Raise {settings}.limits.memory{lower}.",
            "Evicted": f"Raise {settings}.requests, so that the node does not run out of resources.",
        }.get(reason, "")


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


class Waiting:
    """Notices pods that do not start to run.

    Args:
        kind: The pods.
        limit: Seconds that a pod may take to start.
    """

    def __init__(self, kind: PodKind, limit: float) -> None:
        self._kind, self._limit = kind, limit
        self._since: dict[str, float] = {}

    def trouble(self, pods: list[Object]) -> StageError | None:
        """Return why waiting longer will not make a pod run, or None. Call it repeatedly."""
        now, seen = time.monotonic(), set()
        if self._kind.elastic and any(phase_of(pod) in ("Running", "Succeeded") for pod in pods):
            self._since = {}
            return None
        for pod in pods:
            if phase_of(pod) != "Pending" and not refused(pod):
                continue
            key = str(pod["metadata"].get("uid") or pod["metadata"]["name"])
            seen.add(key)
            reason, error = _obstacle(pod, self._kind.stage, self._limit)
            if reason in _HOPELESS or now - self._since.setdefault(key, now) >= self._limit:
                return error
        self._since = {key: since for key, since in self._since.items() if key in seen}
        return None


def unstarted(pod: Object, stage: str, limit: float) -> StageError | None:
    """Return why a pod that has had time enough to start does not run, or None.

    The time counts from the moment when the pod got a node, before that from its creation; not while it is in a queue.

    Args:
        pod: The pod.
        stage: Its stage, as in ``cluster.stages``.
        limit: Seconds that it may take to start.
    """
    scheduled = _condition(pod, "PodScheduled")
    if (phase_of(pod) != "Pending" and not refused(pod)) or scheduled.get("reason") == "SchedulingGated":
        return None
    since = scheduled.get("lastTransitionTime") if scheduled.get("status") == "True" else None
    began = datetime.datetime.fromisoformat(since or pod["metadata"]["creationTimestamp"])
    reason, error = _obstacle(pod, stage, limit)
    waited = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    return error if reason in _HOPELESS or waited >= limit else None


def _obstacle(pod: Object, stage: str, limit: float) -> tuple[str, StageError]:
    """Return the reason why a pod does not run, and the error that says it."""
    name, settings = pod["metadata"]["name"], f"cluster.stages.{stage}"
    longer = f"or raise {settings}.start_within."
    for reason, message in refused(pod):
        image = "Image" in reason or reason == "RegistryUnavailable"
        return reason, StageError(
            f"The pod {name} does not start: {reason}: {_line(message, 400)}",
            f"Check cluster.images.{spec_of(stage).image}, cluster.image_pull_secrets and the network policy."
            if image else "Check the secrets and config maps that the cluster section names.",
        )
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("reason") == "Unschedulable":
        return "Unschedulable", StageError(
            f"No node can take the pod {name}: {_line(str(scheduled.get('message', '')), 400)}",
            f"Free GPUs, correct {settings} (gpu, node_selector, tolerations), {longer}",
        )
    return "Pending", StageError(
        f"The pod {name} has not started after {limit:.0f} s, and does not say why.",
        f"See its events: kubectl describe pod {name}; {longer}",
    )


def _condition(pod: Object, kind: str) -> Object:
    conditions: list[Object] = (pod.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def phase_of(pod: Object) -> str:
    """Return a pod's phase, ``Pending``, ``Running``, ``Succeeded`` or ``Failed``; ``Unknown`` if it has none."""
    return str((pod.get("status") or {}).get("phase") or "Unknown")


def refused(pod: Object) -> list[tuple[str, str]]:
    """Return reason and message of each container that cannot be started."""
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    waiting: list[Object] = [(container.get("state") or {}).get("waiting") or {} for container in containers]
    return [
        (one["reason"], str(one.get("message", ""))) for one in waiting
        if one.get("reason") in _STUCK | _HOPELESS
    ]


def ends(api: KubernetesClient, kind: PodKind, pods: list[Object], known: Sequence[End] = ()) -> list[End]:
    """Return how failed containers of pods ended, the first one first.

    Args:
        api: Client of the namespace.
        kind: What pods these are.
        pods: The pods.
        known: Earlier result: logs in it are not read again.
    """
    found: list[End] = []
    previous: set[str] = set()
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        statuses = status.get("containerStatuses") or []
        container: Object = next((one for one in statuses if one["name"] == kind.container), {})
        now = (container.get("state") or {}).get("terminated") or {}
        before = (container.get("lastState") or {}).get("terminated") or {}
        ended = now if now.get("exitCode") else before if before.get("exitCode") else {}
        if ended:
            if ended is before:
                previous.add(name)
            found.append(End(name, ended.get("reason") or "Error", ended["exitCode"], ended.get("finishedAt") or ""))
        elif phase_of(pod) == "Failed":  # evicted, or its node is lost
            reason, message = status.get("reason") or "Failed", _line(str(status.get("message") or ""), 400)
            found.append(End(name, reason, 0, "", (message,) if message else ()))
    # those without a time first: the cluster ended such a pod
    found.sort(key=lambda end: end.at)
    read = {end[:4]: end for end in known if end.lines}
    for place, end in enumerate(found[:PODS]):
        if end.code:
            found[place] = read.get(end[:4]) or end._replace(
                lines=_lines(api, end.pod, kind.container, previous=end.pod in previous)
            )
    return found


def told(kind: PodKind, found: list[End]) -> tuple[str, str]:
    """Return a description of the ends of pods, and what to do; empty if there are none."""
    texts = [end.text() for end in found[:PODS]]
    words = "\n  ".join(text for at, text in enumerate(texts) if not at or sum(map(len, texts[: at + 1])) <= TEXT)
    return words, next(filter(None, (kind.action(end.reason) for end in found)), "")


def phases(pods: list[Object]) -> str:
    """Return how many pods are in each phase, in words."""
    named = [phase_of(pod) for pod in pods]
    return ", ".join(f"{named.count(phase)} {phase}" for phase in sorted(set(named))) or "no pods"


def _lines(api: KubernetesClient, pod: str, container: str, *, previous: bool) -> tuple[str, ...]:
    try:
        log = api.logs(pod, container, 4 * LINES, previous=previous)
    except StageError as error:
        return (f"(cannot read its log: {_line(error.problem, 200)})",)
    # a progress bar overwrites its line
    lines = [_line(line.rstrip("\r").rpartition("\r")[2]) for line in log.split("\n")]
    return tuple([line for line in lines if line.strip()][-LINES:])


def _line(text: str, width: int = WIDTH) -> str:
    return clean(scrubbed(_COLOURS.sub("", text)).replace("\n", " ").replace("\t", " "), width).rstrip()
