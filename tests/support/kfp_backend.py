"""What runs the runs of the stand-in for Kubeflow Pipelines (:mod:`kfp_server`): the driver of compiled pipelines.

Each run is a thread. Its pods, processes of this machine, are shown by the stand-in for the Kubernetes API, which can
delete them, and read its Secrets and ConfigMaps. A pod that cannot start keeps its run RUNNING, until it is terminated;
Kubeflow says nothing about it. Recurring runs start by their crons, one run at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from ir_control import Control, GoneError
from ir_driver import FAILED, Backend, PipelineRun
from ir_pods import CannotStartError, IRError, Namespace
from kfp_server import UNDER_WAY, KfpServer
from kube_api import KubeApi
from kube_pods import exit_code, held, now

from thinksafe.config.cron import Cron, parse


@dataclass
class KfpBackend:
    """Runs what a server is asked to run. Call :meth:`stop` at the end."""

    server: KfpServer
    api: KubeApi
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of all pods, besides, in the place of a service account's token."""
    images: set[str] = field(default_factory=set)
    controls: dict[str, Control] = field(default_factory=dict)
    """By run."""
    ran: dict[str, PipelineRun] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    """What no backend could run, by run."""
    logs: dict[str, Path] = field(default_factory=dict)
    """By pod."""

    def __post_init__(self) -> None:
        self.server.started, self.server.ended = self._started, self._ended
        self._before_logs, self.api.logs = self.api.logs, self._log
        self._before_evict, self.api.evict = self.api.evict, self._evict
        self._pods: dict[str, str] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._fire, daemon=True).start()

    def stop(self) -> None:
        """End all runs at once."""
        self._stopped.set()
        for control in self.controls.values():
            control.delete()

    def _started(self, run: dict[str, Any]) -> None:
        self.controls[run["run_id"]] = Control(images=self.images, show=self._shown)
        threading.Thread(target=self._run, args=(run,), daemon=True).start()

    def _run(self, run: dict[str, Any]) -> None:
        run_id, control = run["run_id"], self.controls[run["run_id"]]
        folder = self.folder / run_id
        folder.mkdir(parents=True)
        version = run["pipeline_version_reference"]["pipeline_version_id"]
        (folder / "compiled.yaml").write_text(yaml.safe_dump_all(self.server.packages[version]))
        namespace = Namespace(_Held(self.api, "secrets"), _Held(self.api, "configmaps"), self.environment)
        run["state"] = "RUNNING"
        try:
            backend = Backend(folder / "compiled.yaml", folder, namespace)
            given = run["runtime_config"].get("parameters") or {}
            self.ran[run_id] = done = backend.run(run_id, control, **given)
        except GoneError:
            return  # of a workflow that was deleted nobody hears any more
        except CannotStartError as error:
            self._waits(run_id, control, error)
            run["state"] = FAILED
            return
        except IRError as error:
            self.faults[run_id], run["state"] = str(error), FAILED
            return
        run["state"] = done.state

    def _waits(self, run_id: str, control: Control, error: CannotStartError) -> None:
        """Show a pod that cannot start, until the run is terminated; the pod itself stays."""
        labels = {**error.labels, "pipeline/runid": run_id}
        state = {"waiting": {"reason": error.reason, "message": str(error)}}
        self.api.pods.append({
            "metadata": {
                "name": error.pod, "uid": f"uid-{error.pod}", "labels": labels, "creationTimestamp": now(),
            },
            "spec": {"nodeName": "one", "containers": [{"name": "main"}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "main", "state": state}]},
        })
        while not (control.terminated or control.gone or self._stopped.is_set()):
            time.sleep(0.1)

    def _ended(self, run_id: str, deleted: bool) -> None:
        control = self.controls[run_id]
        if deleted:
            control.delete()
            self.api.pods[:] = [
                pod for pod in self.api.pods if pod["metadata"].get("labels", {}).get("pipeline/runid") != run_id
            ]
        else:
            control.terminate()

    def _shown(self, name: str, labels: dict[str, str], log: Path, code: int | None) -> None:
        self.logs[name], self._pods[name] = log, labels["pipeline/runid"]
        state: dict[str, Any] = {"running": {}}
        if code is not None:
            state = {"terminated": {"exitCode": exit_code(code), "reason": "Error" if code else "Completed"}}
        phase = "Running" if code is None else "Failed" if code else "Succeeded"
        others = [pod for pod in self.api.pods if pod["metadata"]["name"] != name]
        self.api.pods[:] = [*others, {
            "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels, "creationTimestamp": now()},
            "spec": {"nodeName": "one", "containers": [{"name": "main"}]},
            "status": {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]},
        }]

    def _evict(self, name: str) -> bool:
        if name not in self._pods:
            before = len(self.api.pods)
            self.api.pods[:] = [
                pod for pod in self.api.pods
                if pod["metadata"]["name"] != name or "pipeline/runid" not in pod["metadata"].get("labels", {})
            ]
            return len(self.api.pods) < before or self._before_evict(name)
        control = self.controls[self._pods[name]]
        running = [pod for pod in self.api.pods if pod["metadata"]["name"] == name]
        self.api.pods[:] = [pod for pod in self.api.pods if pod not in running]
        self.api.delete_owned(f"uid-{name}")
        if running and running[0]["status"]["phase"] == "Running":
            control.lose()
        return True

    def _log(self, name: str) -> str:
        if (log := self.logs.get(name)) is not None and log.is_file():
            return log.read_text("utf-8")
        return self._before_logs(name)

    def _fire(self) -> None:
        """Start recurring runs as their crons say, none while one of its runs is under way."""
        last = int(time.time())
        while not self._stopped.wait(0.2):
            for second in range(last + 1, int(time.time()) + 1):
                last = second
                for of in list(self.server.recurring_runs):
                    busy = any(
                        run.get("recurring_run_id") == of["recurring_run_id"] and run["state"] in UNDER_WAY
                        for run in self.server.runs
                    )
                    cron = parse(of["trigger"]["cron_schedule"]["cron"])
                    if of["mode"] == "ENABLE" and not busy and matches(cron, datetime.fromtimestamp(second, UTC)):
                        self.server.fire(of["recurring_run_id"], "PENDING")


def matches(cron: Cron, at: datetime) -> bool:
    """Return whether a cron fires at a time."""
    day, weekday = at.day in cron.days, at.isoweekday() % 7 in cron.weekdays
    days = day and weekday if cron.any_day or cron.any_weekday else day or weekday
    return (
        at.second in cron.seconds and at.minute in cron.minutes and at.hour in cron.hours and at.month in cron.months
        and days
    )


class _Held(Mapping[str, Mapping[str, str]]):
    """Secrets or ConfigMaps, as they are when a pod starts."""

    def __init__(self, api: KubeApi, plural: str) -> None:
        self._api, self._plural = api, plural

    def __getitem__(self, name: str) -> Mapping[str, str]:
        data = held(self._api, self._plural, name)
        if data is None:
            raise KeyError(name)
        return data

    def __iter__(self) -> Iterator[str]:
        return (name for of, name in list(self._api.objects) if of == self._plural)

    def __len__(self) -> int:
        return len(list(iter(self)))
