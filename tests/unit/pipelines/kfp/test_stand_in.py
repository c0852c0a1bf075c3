"""The stand-in for Kubeflow Pipelines loses what a real one loses, and starts recurring runs by their crons."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kfp_backend import KfpBackend, matches
from kfp_server import KfpServer
from kube_api import KubeApi

from thinksafe.config.cron import parse

CODE = "import json, sys, time; time.sleep(60); json.dump({}, open(sys.argv[1], 'w'))"
SPEC: dict[str, Any] = {
    "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.17.0", "pipelineInfo": {"name": "small"},
    "root": {"dag": {"tasks": {"long": {"componentRef": {"name": "comp"}, "taskInfo": {"name": "long"}}}}},
    "components": {"comp": {"executorLabel": "exec"}},
    "deploymentSpec": {"executors": {"exec": {"container": {
        "image": "registry/long:1", "command": ["python", "-c", CODE], "args": ["{{$}}"],
    }}}},
}


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[KfpBackend]:
    server = KfpServer()
    server.packages["version"] = [copy.deepcopy(SPEC)]
    running = KfpBackend(server, KubeApi(), tmp_path)
    yield running
    running.stop()


def recurring(backend: KfpBackend, cron: str, mode: str = "ENABLE") -> str:
    backend.server.recurring_runs.append({
        "recurring_run_id": "daily", "display_name": "daily", "experiment_id": "e", "mode": mode,
        "pipeline_version_reference": {"pipeline_version_id": "version"}, "runtime_config": {},
        "trigger": {"cron_schedule": {"cron": cron}},
    })
    return "daily"


def eventually(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def running_pods(backend: KfpBackend) -> list[str]:
    return [pod["metadata"]["name"] for pod in backend.api.pods if pod["status"]["phase"] == "Running"]


def test_a_recurring_run_that_is_deleted_takes_its_workflows_along(backend: KfpBackend) -> None:
    run_id = backend.server.fire(recurring(backend, "0 0 0 1 1 *"))
    eventually(lambda: running_pods(backend))
    process = backend.controls[run_id].process
    backend.server.delete(["recurringruns", "daily"])
    assert process is not None
    assert process.wait(10) == -9
    assert backend.server.lost == [run_id]
    assert backend.server.runs[0]["state"] == "RUNNING", "for ever"
    assert backend.api.pods == []


def test_one_that_is_disabled_keeps_them(backend: KfpBackend) -> None:
    backend.server.fire(recurring(backend, "0 0 0 1 1 *"))
    eventually(lambda: running_pods(backend))
    backend.server.post(["recurringruns", "daily:disable"], {}, {})
    assert running_pods(backend)
    assert backend.server.lost == []


def test_a_recurring_run_starts_by_its_cron_one_run_at_a_time(backend: KfpBackend) -> None:
    recurring(backend, "* * * * * *")
    eventually(lambda: backend.server.runs)
    time.sleep(1.5)
    assert len(backend.server.runs) == 1


def test_a_pod_without_its_image_keeps_the_run_running_without_a_word(backend: KfpBackend) -> None:
    backend.images = {"registry/other:1"}
    run_id = backend.server.fire(recurring(backend, "0 0 0 1 1 *"))
    (pod,) = eventually(lambda: list(backend.api.pods))
    assert "ImagePullBackOff" in str(pod["status"])
    assert backend.server.runs[0]["state"] == "RUNNING"
    backend.server.post(["runs", f"{run_id}:terminate"], {}, {})
    eventually(lambda: backend.server.runs[0]["state"] == "FAILED")
    assert backend.api.pods == [pod], "the pod stays"


@pytest.mark.parametrize(
    ("cron", "at", "fires"),
    [
        ("0 30 3 * * 0", datetime(2026, 11, 29, 3, 30, tzinfo=UTC), True),
        ("0 30 3 * * 1", datetime(2026, 11, 29, 3, 30, tzinfo=UTC), False),
        ("0 30 3 29 * 1", datetime(2026, 11, 29, 3, 30, tzinfo=UTC), True),
        ("5 30 3 * * *", datetime(2026, 11, 29, 3, 30, tzinfo=UTC), False),
    ],
)
def test_times_of_a_cron(cron: str, at: datetime, fires: bool) -> None:
    assert matches(parse(cron), at) is fires
