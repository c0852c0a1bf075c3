"""A stand-in for Kubeflow Trainer's controller: the pods of a TrainJob are processes of this machine.

What it reads of a TrainJob, and what it sets in the environment, is what the torch policy of Trainer 2.3 does
(``pkg/runtime/framework/plugins/torch``): PET_NNODES, PET_NPROC_PER_NODE, PET_NODE_RANK, PET_MASTER_ADDR,
PET_MASTER_PORT. A pod is never started again, and one that fails ends the job, as with ``backoffLimit: 0``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kube_api import KubeApi, Object
from node_training import free_port, node_environment


def condition(kind: str, reason: str, message: str = "") -> Object:
    """Return the status of a TrainJob that ended."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    one = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
    return {"conditions": [one]}


@dataclass
class Controller:
    """Runs the TrainJobs of a stand-in of the Kubernetes API."""

    api: KubeApi
    folder: Path
    """For the logs of pods."""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    jobs: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    """Processes of each job, by its uid."""
    runtimes: tuple[str, ...] = ("torch-distributed",)
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of all pods, besides."""

    def __post_init__(self) -> None:
        self.api.admit = self._admit
        self.api.controller = self._reconcile
        self.api.deleted = self._deleted
        self.api.logs = self._log

    def stop(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()

    def running(self) -> list[int]:
        """Return the ranks of the nodes that run."""
        return [rank for rank, process in enumerate(self.started) if process.poll() is None]

    def _admit(self, found: Object) -> tuple[int, str] | None:
        name = found["spec"]["runtimeRef"]["name"]
        denied = 'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: '
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", found["metadata"]["name"]):
            return 422, "metadata.name must match RFC 1035 DNS label format"
        if any(one["name"].startswith("PET_") for one in found["spec"]["trainer"]["env"]):
            return 403, f"{denied}spec.trainer.env: Invalid value: must not have reserved envs"
        for patch in found["spec"]["runtimePatches"]:
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9/._~!$&'()*+,;=:-]+", patch["manager"]):
                return 403, f"{denied}spec.runtimePatches.manager: must be a domain-prefixed path"
            for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
                if job["name"] != "node":
                    return 403, f"{denied}must not have replicated job that doesn't exist in the runtime job template"
                for container in job["template"]["spec"]["template"]["spec"]["containers"]:
                    if container["name"] != "node" or "env" in container:
                        return 403, f"{denied}must not have envs for the node container"
        if name in self.runtimes:
            return None
        return 403, (
            'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: spec.RuntimeRef: Invalid '
            f'value: clustertrainingruntimes.trainer.kubeflow.org "{name}" not found: specified clusterTrainingRuntime '
            "must be created before the TrainJob is created"
        )

    def _reconcile(self, found: Object) -> Object | None:
        name, trainer, port = found["metadata"]["name"], found["spec"]["trainer"], free_port()
        assert trainer["command"][0] == "python"
        nodes = []
        for rank in range(trainer["numNodes"]):
            plain = {one["name"]: one["value"] for one in trainer["env"] if one.get("value")}
            environment = node_environment(rank, trainer["numNodes"], trainer["numProcPerNode"], port)
            with (self.folder / f"{name}-node-0-{rank}.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, *trainer["command"][1:], *trainer["args"]], stdout=log, stderr=log,
                    env={**environment, **plain, **self.environment},
                )
            nodes.append(process)
            self.started.append(process)
        self.jobs[found["metadata"]["uid"]] = nodes
        self._show(name, nodes)
        threading.Thread(target=self._follow, args=(found, nodes), daemon=True).start()
        return {"jobsStatus": [{"name": "node", "active": 1, "ready": 1, "failed": 0, "succeeded": 0, "suspended": 0}]}

    def _follow(self, found: Object, nodes: list[subprocess.Popen[bytes]]) -> None:
        name = found["metadata"]["name"]
        while True:
            codes = [process.poll() for process in nodes]
            failed = [code for code in codes if code]
            if failed or all(code == 0 for code in codes):
                break
            time.sleep(0.05)
        if self.api.objects.get(("trainjobs", name), {}).get("metadata", {}).get("uid") != found["metadata"]["uid"]:
            return  # deleted meanwhile
        if failed:
            with suppress(subprocess.TimeoutExpired):  # the others notice
                for process in nodes:
                    process.wait(timeout=60)
        self._show(name, nodes)
        self.api.set_status(
            "trainjobs", name,
            condition("Failed", "FailedJobs", "jobset failed due to one or more job failures") if failed
            else condition("Complete", "AllJobsCompleted", "jobset completed successfully"),
        )

    def _show(self, name: str, nodes: list[subprocess.Popen[bytes]]) -> None:
        self.api.pods[:] = [pod(name, rank, process.poll()) for rank, process in enumerate(nodes)]

    def _deleted(self, found: Object) -> None:
        for process in self.jobs.get(found["metadata"]["uid"], []):
            process.kill()
            process.wait()
        self.api.pods.clear()

    def _log(self, name: str) -> str:
        with suppress(OSError):
            return (self.folder / f"{name}.log").read_text()
        return ""


def pod(job: str, rank: int, code: int | None, **state: Any) -> Object:
    """Return the pod of a node whose process ended with a code, or runs (None)."""
    reason = "Error" if code else "Completed"
    ended = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": f"2026-11-28T00:00:0{rank}Z"}}
    phase = "Running" if code is None else "Failed" if code else "Succeeded"
    container = {"name": "node", "state": state or ({"running": {}} if code is None else ended)}
    return {
        "metadata": {"name": f"{job}-node-0-{rank}", "uid": f"{job}-{rank}"},
        "status": {"phase": phase, "containerStatuses": [container]},
    }
