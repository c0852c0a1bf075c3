"""Jobs and their pods as the stand-in for the Kubernetes API shows them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

from kube_api import Object
from kube_pods import WaitingError, exit_code, now

JOB_LABEL, INDEX_LABEL = "batch.kubernetes.io/job-name", "batch.kubernetes.io/job-completion-index"


@dataclass
class JobPod:
    """A pod: a process, or one that waits to become one."""

    name: str
    index: int
    process: subprocess.Popen[bytes] | None
    waiting: WaitingError | None = None
    """Why it does not start."""
    disrupted: bool = False
    """The cluster takes it away (condition DisruptionTarget)."""
    reason: str = ""
    """Why it ended, ``Error`` unless set."""
    ended: bool = False
    deleted: bool = False


def condition(kind: str, reason: str, message: str = "") -> Object:
    """Return the status of a Job that ended."""
    one = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now()}
    return {"conditions": [one]}


def described(job: str, pod: JobPod, labels: dict[str, str]) -> Object:
    """Return a pod as the API shows it."""
    code = pod.process.poll() if pod.process is not None else None
    status: dict[str, Any] = {"phase": "Pending"}
    if pod.waiting is not None:
        state = {"waiting": {"reason": pod.waiting.reason, "message": pod.waiting.message}}
        status = {"phase": "Pending", "containerStatuses": [{"name": "main", "state": state}]}
    elif pod.process is None:
        message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        status["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        ]
    elif code is None:
        status = {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]}
    else:
        ended = {
            "exitCode": exit_code(code), "finishedAt": now(),
            "reason": pod.reason or ("Error" if code else "Completed"),
        }
        phase = "Failed" if code else "Succeeded"
        status = {"phase": phase, "containerStatuses": [{"name": "main", "state": {"terminated": ended}}]}
    labels = {**labels, "job-name": job, JOB_LABEL: job, INDEX_LABEL: str(pod.index)}
    metadata = {"name": pod.name, "uid": pod.name, "labels": labels, "creationTimestamp": now()}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main"}]}, "status": status}
