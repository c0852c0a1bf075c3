"""Pods of the stand-in for the Kubernetes API (:mod:`kube_api`), as processes of this machine.

A pod's environment holds what its container names, out of the Secrets and ConfigMaps that the API holds, and ConfigMaps
that it mounts are files. A pod whose Secret or key is missing, or whose image nobody has, waits, as on a cluster.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kube_api import KubeApi, Object

PROGRAMS = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
"""Where commands are, in the place of an image."""


class WaitingError(Exception):
    """A pod does not start: Kubernetes' reason, and a message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.message = reason, message


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def held(api: KubeApi, plural: str, name: str) -> dict[str, str] | None:
    """Return what a Secret or ConfigMap holds, as text."""
    found = api.objects.get((plural, name))
    if found is None:
        return None
    data = found.get("data") or {}
    return {key: base64.b64decode(text).decode() for key, text in data.items()} if plural == "secrets" else dict(data)


@dataclass(frozen=True)
class Start:
    """What it takes to start the process of a pod."""

    command: list[str]
    environment: dict[str, str]


@dataclass
class PodRunner:
    """Starts pods. Pods that are made through the API, as ``helm test`` does, run by themselves."""

    api: KubeApi
    folder: Path
    """For logs and mounted files."""
    images: set[str] = field(default_factory=set)
    """Images that can be pulled; all where it is empty."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of all pods, besides."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        before = (self.api.controller, self.api.deleted, self.api.logs)
        self._before_controller, self._before_deleted, self._before_logs = before
        self.api.controller, self.api.deleted, self.api.logs = self._reconcile, self._deleted, self._log

    def prepared(self, name: str, spec: Object) -> Start:
        """Return how to start a pod. Raises WaitingError where it cannot start."""
        (container,) = spec["containers"]
        if self.images and container["image"] not in self.images:
            raise WaitingError("ImagePullBackOff", f'Back-off pulling image "{container["image"]}"')
        made = {"PATH": PROGRAMS, "OMP_NUM_THREADS": "1", **self.environment}
        for one in container.get("env", ()):
            value = one.get("value", "") if "valueFrom" not in one else self._referred(one["valueFrom"])
            if value is not None:
                made[one["name"]] = value
        home = self.folder / name
        home.mkdir(parents=True, exist_ok=True)
        made |= {"HOME": str(home), "TMPDIR": str(home)}
        texts = [*container["command"], *container.get("args", ())]
        for mount, place in self._mounts(spec, container, home).items():
            texts = [text.replace(mount, place) for text in texts]
        return Start(texts, made)

    def start(self, name: str, spec: Object, **more: str) -> subprocess.Popen[bytes]:
        """Start a pod's process; its log is a file. Raises WaitingError."""
        begin = self.prepared(name, spec)
        program = begin.command[0]
        command = [sys.executable, "-m", "thinksafe", *begin.command[1:]] if program == "thinksafe" else begin.command
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env={**begin.environment, **more}, cwd=self.folder / name,
                start_new_session=True,
            )

    def stop(self) -> None:
        for process in self.processes.values():
            kill(process)

    def _referred(self, source: Object) -> str | None:
        for kind, plural in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if (of := source.get(kind)) is None:
                continue
            data = held(self.api, plural, of["name"])
            if data is not None and of["key"] in data:
                return data[of["key"]]
            if of.get("optional"):
                return None
            what = kind.removesuffix("KeyRef")
            missing = f'{what} "{of["name"]}" not found' if data is None else f"couldn't find key {of['key']} in {what}"
            raise WaitingError("CreateContainerConfigError", missing)
        raise NotImplementedError(source)

    def _mounts(self, spec: Object, container: Object, home: Path) -> dict[str, str]:
        """Write the ConfigMaps that a container mounts, and return the place of each on this machine."""
        volumes, made = {one["name"]: one for one in spec.get("volumes", ())}, {}
        for mount in container.get("volumeMounts", ()):
            if (source := volumes[mount["name"]].get("configMap")) is None:
                continue
            data = held(self.api, "configmaps", source["name"])
            if data is None:
                raise WaitingError("ContainerCreating", f'configmap "{source["name"]}" not found')
            place = home / mount["mountPath"].strip("/")
            for key, text in data.items():
                file = place if mount.get("subPath") == key else place / key
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            made[mount["mountPath"]] = str(place)
        return made

    def _reconcile(self, found: Object) -> Object | None:
        if found["kind"] != "Pod":
            return self._before_controller(found)
        threading.Thread(target=self._run, args=(found,), daemon=True).start()
        return None

    def _run(self, found: Object) -> None:
        name = found["metadata"]["name"]
        container = found["spec"]["containers"][0]["name"]

        def show(phase: str, state: Object) -> None:
            one = {"name": container, "state": state, "ready": "running" in state, "restartCount": 0}
            self.api.set_status("pods", name, {"phase": phase, "containerStatuses": [one]})

        try:
            process = self.processes[name] = self.start(name, found["spec"])
        except WaitingError as waiting:
            return show("Pending", {"waiting": {"reason": waiting.reason, "message": waiting.message}})
        show("Running", {"running": {"startedAt": now()}})
        code = exit_code(process.wait())
        reason = "Error" if code else "Completed"
        ended = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}}
        return show("Failed" if code else "Succeeded", ended)

    def _deleted(self, found: Object) -> None:
        if found["kind"] != "Pod":
            return self._before_deleted(found)
        if (process := self.processes.pop(found["metadata"]["name"], None)) is not None:
            kill(process)
        return None

    def _log(self, name: str) -> str:
        with suppress(OSError):
            return (self.folder / f"{name}.log").read_text()
        return self._before_logs(name)


def exit_code(code: int) -> int:
    """Return the exit code of a container whose process ended so."""
    return 128 - code if code < 0 else code


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a pod's process, and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()

