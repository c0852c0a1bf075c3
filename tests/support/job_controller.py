"""A stand-in for Kubernetes' Job controller and for Kueue: the pods of an Indexed Job are processes of this machine.

It does what Kubernetes 1.33 does with the fields that our Jobs have: completionMode Indexed, completions, parallelism,
backoffLimitPerIndex, podFailurePolicy, activeDeadlineSeconds, ttlSecondsAfterFinished and suspend. A Job that is not
Indexed, as a hook of the chart, is one index with ``backoffLimit`` failures. A pod is never started again; an index
gets a new one. Kueue is a few lines: it suspends Jobs with a queue, and admits them.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from job_status import JOB_LABEL, JobPod, condition, described
from kube_api import KubeApi, Object
from kube_pods import PodRunner, WaitingError, exit_code

QUEUE, COMPLETIONS_TOO = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/job-completions-equal-parallelism"
STEP_SECONDS = 0.03


def thinksafe_command(job: Object) -> list[str]:
    """Return the command of a Job's container, ``thinksafe ...``, as the interpreter of the tests runs it."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    program, *rest = container["command"]
    assert program == "thinksafe"
    return [sys.executable, "-m", "thinksafe", *rest, *container["args"]]


@dataclass
class Running:
    """What the controller knows about one Job."""

    uid: str
    began: float
    pods: list[JobPod] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    succeeded: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    resume_at: dict[int, float] = field(default_factory=dict)

    def active(self) -> list[JobPod]:
        return [pod for pod in self.pods if not pod.ended]


@dataclass
class JobController:
    """Runs the Indexed Jobs of a stand-in of the Kubernetes API. Objects of other kinds go to the controller before it.

    Call :meth:`stop` at the end.
    """

    api: KubeApi
    folder: Path
    """For the logs of pods."""
    command: Callable[[Object], list[str]] = thinksafe_command
    """What a pod of a Job runs."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of all pods, besides."""
    runner: PodRunner | None = None
    """Starts the pods, with what their containers name; without one they have the environment of this process."""
    quota: Callable[[Object], str] = lambda spec: ""
    """What a quota says to a pod that it refuses; empty for one that it admits."""
    backoff_seconds: float = 0.05
    """Time before a failed index gets a new pod; on a cluster 10 s, doubled each time."""
    places: int = 1_000_000
    """Pods for which the nodes have room; others are unschedulable."""
    admits: int | None = None
    """Kueue: pods for which a queue has quota; None for all, 0 for none yet."""
    jobs: dict[str, Running] = field(default_factory=dict)
    """By name."""
    made: list[str] = field(default_factory=list)
    """Names of all pods that ran."""

    def __post_init__(self) -> None:
        before = (self.api.admit, self.api.controller, self.api.deleted, self.api.logs)
        self._before_admit, self._before_controller, self._before_deleted, self._before_logs = before
        self.api.admit, self.api.controller = self._admit, self._reconcile
        self.api.deleted, self.api.logs = self._deleted, self._log
        self._before_evict, self.api.evict = self.api.evict, self._evict
        self._lock, self._stopped = threading.RLock(), False

    def stop(self) -> None:
        """End all pods."""
        with self._lock:
            self._stopped = True
            for running in self.jobs.values():
                self._end(running.active())

    def running(self) -> list[str]:
        """Return the names of the pods that run."""
        with self._lock:
            found = [pod for running in self.jobs.values() for pod in running.active()]
            return [pod.name for pod in found if pod.process is not None and pod.process.poll() is None]

    def delete_pod(self, name: str, *, disrupted: bool = False) -> None:
        """Delete a pod; its index gets a new one. ``disrupted``: as an eviction does, which counts as no failure."""
        with self._lock:
            pod = next(pod for running in self.jobs.values() for pod in running.pods if pod.name == name)
            pod.disrupted, pod.deleted = disrupted, True
            if pod.process is not None:
                pod.process.kill()

    def _evict(self, name: str) -> bool:
        with self._lock:
            mine = any(pod.name == name for running in self.jobs.values() for pod in running.active())
        if mine:
            self.delete_pod(name)
        return mine or self._before_evict(name)

    def kill(self, name: str, reason: str = "OOMKilled") -> None:
        """Kill a pod's process, as the kernel does when memory runs out."""
        with self._lock:
            pod = next(pod for running in self.jobs.values() for pod in running.pods if pod.name == name)
            pod.reason = reason
            assert pod.process is not None
            pod.process.kill()

    def _admit(self, found: Object) -> tuple[int, str] | None:
        if found["kind"] != "Job":
            return self._before_admit(found)
        spec = found["spec"]
        template = spec["template"]["spec"]
        spec.setdefault("parallelism", 1)
        spec.setdefault("completions", 1)
        if "completionMode" not in spec:
            return None
        if template["restartPolicy"] != "Never":
            return 422, "spec.template.spec.restartPolicy: must be Never for podFailurePolicy and backoffLimitPerIndex"
        if spec["completionMode"] != "Indexed" or spec["parallelism"] > spec["completions"]:
            return 422, "spec.completionMode: Indexed is needed for backoffLimitPerIndex"
        if len(f"{found['metadata']['name']}-{spec['completions'] - 1}-abcde") > 63:
            return 422, "metadata.name: the names of pods are longer than 63 characters"
        if QUEUE in found["metadata"].get("labels", {}):  # Kueue's webhook
            spec["suspend"] = True
        return None

    def _reconcile(self, found: Object) -> Object | None:
        if found["kind"] != "Job":
            return self._before_controller(found)
        name, uid = found["metadata"]["name"], found["metadata"]["uid"]
        with self._lock:
            self.jobs[name] = Running(uid, time.monotonic())
        threading.Thread(target=self._follow, args=(name, uid), daemon=True).start()
        return None

    def _deleted(self, found: Object) -> None:
        if found["kind"] != "Job":
            return self._before_deleted(found)
        with self._lock:
            running = self.jobs.pop(found["metadata"]["name"], None)
            if running is not None:
                self._end(running.active())
            self._show()
        return None

    def _log(self, name: str) -> str:
        with suppress(OSError):
            return (self.folder / f"{name}.log").read_text()
        return self._before_logs(name)

    def _follow(self, name: str, uid: str) -> None:
        while True:
            time.sleep(STEP_SECONDS)
            with self._lock:
                found, running = self.api.objects.get(("jobs", name)), self.jobs.get(name)
                if self._stopped or found is None or running is None or running.uid != uid:
                    return
                ended = self._step(found, running)
                if ended is not None:
                    self._finish(found, running, ended)
                    return

    def _step(self, found: Object, running: Running) -> Object | None:
        """Take the Job one step further, and return the condition with which it ended, if it did."""
        spec, name = found["spec"], found["metadata"]["name"]
        if spec.get("suspend"):
            running.began = time.monotonic()  # the deadline's clock starts again
            if self.admits == 0:
                return None
            spec = {**spec, "suspend": False}
            if self.admits is not None and self.admits < spec["parallelism"]:
                spec["parallelism"] = self.admits
                if found["metadata"]["annotations"].get(COMPLETIONS_TOO) == "true":
                    spec["completions"] = self.admits
            self.api.change("jobs", name, spec=spec)
        if time.monotonic() - running.began > spec.get("activeDeadlineSeconds", 1e9):
            return condition("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        for pod in running.active():
            if pod.process is not None and (code := pod.process.poll()) is not None:
                pod.ended = True
                if (failed := self._pod_ended(spec, running, pod, code)) is not None:
                    return failed
        over = running.succeeded | running.failed
        if len(over) == spec["completions"]:
            if running.failed:
                return condition("Failed", "FailedIndexes", "Job has failed indexes")
            return condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        busy = {pod.index for pod in running.active()}
        for index in range(spec["completions"]):
            free = index not in over | busy and len(busy) < spec["parallelism"]
            if free and time.monotonic() >= running.resume_at.get(index, 0.0):
                if refused := self.quota(spec["template"]["spec"]):
                    self._event(found, refused)
                    break
                busy.add(index)
                running.pods.append(JobPod(f"{name}-{index}-{secrets.token_hex(3)[:5]}", index, None))
        for pod in running.active():
            if pod.process is None and len(self.running()) < self.places:
                try:
                    pod.process, pod.waiting = self._start(found, pod), None
                except WaitingError as waiting:
                    pod.waiting = waiting
        self._show()
        return None

    def _pod_ended(self, spec: Object, running: Running, pod: JobPod, code: int) -> Object | None:
        """Apply the failure policy to a pod that ended."""
        if code == 0:
            running.succeeded.add(pod.index)
            return None
        code = exit_code(code)
        running.resume_at[pod.index] = time.monotonic() + self.backoff_seconds
        for place, rule in enumerate(spec.get("podFailurePolicy", {}).get("rules", [])):
            codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
            if codes and codes["operator"] == "In" and code in codes["values"]:
                assert rule["action"] == "FailJob"
                words = f"Container {codes['containerName']} for pod {pod.name} failed with exit code {code} matching "
                return condition("Failed", "PodFailurePolicy", f"{words}FailJob rule at index {place}")
            if conditions and pod.disrupted and conditions[0]["type"] == "DisruptionTarget":
                assert rule["action"] == "Ignore"
                return None
        running.failures[pod.index] = running.failures.get(pod.index, 0) + 1
        limit = spec.get("backoffLimitPerIndex")
        if limit is None and running.failures[pod.index] > spec["backoffLimit"]:
            return condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if limit is not None and running.failures[pod.index] > limit:
            running.failed.add(pod.index)
        return None

    def _start(self, found: Object, pod: JobPod) -> subprocess.Popen[bytes]:
        template = found["spec"]["template"]["spec"]
        if self.runner is not None:
            process = self.runner.start(pod.name, template, JOB_COMPLETION_INDEX=str(pod.index))
            self.made.append(pod.name)
            return process
        (container,) = template["containers"]
        plain = {one["name"]: one["value"] for one in container["env"] if one.get("value")}
        self.made.append(pod.name)
        with (self.folder / f"{pod.name}.log").open("wb") as log:
            return subprocess.Popen(
                self.command(found), stdout=log, stderr=log,
                env={**os.environ, **plain, "JOB_COMPLETION_INDEX": str(pod.index), **self.environment},
            )

    def _finish(self, found: Object, running: Running, status: Object) -> None:
        self._end(running.active())
        self._show()
        name = found["metadata"]["name"]
        self.api.set_status("jobs", name, {
            **status, "succeeded": len(running.succeeded), "failed": sum(running.failures.values()),
            "failedIndexes": ",".join(map(str, sorted(running.failed))),
        })
        keep = found["spec"].get("ttlSecondsAfterFinished", 86400)
        timer = threading.Timer(keep, lambda: self.api.delete("jobs", name))
        timer.daemon = True
        timer.start()

    def _event(self, found: Object, message: str) -> None:
        one = {"kind": "Job", "name": found["metadata"]["name"]}
        said = [event["message"] for event in self.api.events if event.get("involvedObject") == one]
        if message not in said:
            self.api.events.append({
                "metadata": {"name": f"{one['name']}-{len(self.api.events)}"}, "involvedObject": one,
                "type": "Warning", "reason": "FailedCreate", "message": message,
            })

    def _end(self, pods: list[JobPod]) -> None:
        for pod in pods:
            if pod.process is not None:
                pod.process.terminate()
        for pod in pods:
            if pod.process is not None:
                try:
                    pod.process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    pod.process.kill()
                    pod.process.wait()
            pod.ended = True

    def _show(self) -> None:
        mine = []
        for name, running in self.jobs.items():
            template = self.api.objects.get(("jobs", name), {}).get("spec", {}).get("template", {})
            labels = template.get("metadata", {}).get("labels", {})
            mine += [described(name, pod, labels) for pod in running.pods if not (pod.ended and pod.deleted)]
        others = [pod for pod in self.api.pods if JOB_LABEL not in pod["metadata"].get("labels", {})]
        self.api.pods[:] = others + mine
