"""An Indexed Job from the manifest to its end, with real processes behind an API that is a stand-in.

What the pods do here is a script; tests of ``thinksafe work`` are elsewhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cluster_configs import cluster_document
from job_controller import JobController
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.pods import JOBS_VARIABLE, POD_NAME_VARIABLE, POD_UID_VARIABLE
from thinksafe.errors import ConfigError, StageError, ThinkSafeError
from thinksafe.kube import jobs
from thinksafe.kube.client import connect
from thinksafe.kube.indexed_job import IndexedJobLauncher, indexed_job, job_name

KEY = "0123456789abcdef" * 4
NAME = job_name("sample", KEY)
ADDRESS = "s3://models/thinksafe/work/orders.json"
CLUSTER: dict[str, Any] = {
    "images": {kind: f"registry.example/thinksafe/{kind}:1.0.0" for kind in ("cpu", "sampler", "trainer")},
    "store": "s3://models/thinksafe", "mlflow": {"uri": "http://mlflow:5000"}, "namespace": "serving",
}


def settings(name: str = "plain", **changed: Any) -> ClusterSettings:
    return ClusterSettings.model_validate(yaml.safe_load(cluster_document(name, **changed))["cluster"])


def manifest(name: str = "plain", **changed: Any) -> dict[str, Any]:
    return indexed_job(settings(name, **changed), "sample", KEY, ADDRESS, 16)


@pytest.mark.parametrize("name", ["plain", "disconnected", "multi-user"])
def test_kubernetes_own_schema_knows_every_field(name: str) -> None:
    kubernetes_validate.validate(manifest(name), "1.33", strict=True)


def test_the_pods_are_those_of_the_stage() -> None:
    stages = {
        "sample": {
            "gpu": {"count": 4}, "shared_memory": "8Gi", "priority_class": "high", "runtime_class": "nvidia",
            "retries": {"count": 5}, "deadline": "2h", "node_selector": {"gpu": "h100"},
            "limits": {"memory": "96Gi"},
        },
    }
    found = manifest(stages=stages)
    assert found["metadata"]["name"] == NAME
    assert found["metadata"]["annotations"] == {"thinksafe/work": KEY}
    assert len(NAME + "-9999-abcde") <= 63
    spec = found["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 16, 16)
    assert (spec["backoffLimitPerIndex"], spec["activeDeadlineSeconds"]) == (5, 7200)
    assert spec["ttlSecondsAfterFinished"] == 24 * 3600
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["FailJob", "Ignore"]
    pod = spec["template"]["spec"]
    assert (pod["priorityClassName"], pod["runtimeClassName"], pod["restartPolicy"]) == ("high", "nvidia", "Never")
    assert pod["nodeSelector"] == {"gpu": "h100"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert (container["command"], container["args"]) == (["thinksafe", "work"], [ADDRESS])
    assert container["image"] == settings().image("sample")
    assert container["resources"]["limits"] == {"memory": "96Gi", "nvidia.com/gpu": "4"}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/dev/shm", "/cache"}
    names = {one["name"] for one in container["env"]}
    assert {"AWS_SECRET_ACCESS_KEY", "HF_HOME"} <= names
    assert not {JOBS_VARIABLE, "MLFLOW_TRACKING_URI", "THINKSAFE_RETRIES"} & names
    assert spec["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "sample"


def test_the_stage_without_settings_has_no_deadline_and_the_usual_retries() -> None:
    spec = manifest(stages={})["spec"]
    assert "activeDeadlineSeconds" not in spec
    assert spec["backoffLimitPerIndex"] == 3
    assert not {"priorityClassName", "runtimeClassName"} & spec["template"]["spec"].keys()


def test_a_queue_and_an_owner_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "kueue.x-k8s.io/queue-name" not in manifest()["metadata"]["labels"]
    monkeypatch.setenv(POD_NAME_VARIABLE, "realign-sample-1")
    monkeypatch.setenv(POD_UID_VARIABLE, "f00d")
    metadata = manifest(jobs={"queue": "gpus", "service_account": "works"})["metadata"]
    assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert metadata["annotations"] == {
        "thinksafe/work": KEY, "kueue.x-k8s.io/job-min-parallelism": "1",
        "kueue.x-k8s.io/job-completions-equal-parallelism": "true",
    }
    (owner,) = metadata["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "realign-sample-1", "uid": "f00d"}
    account = manifest(jobs={"service_account": "works"})["spec"]["template"]["spec"]["serviceAccountName"]
    assert account == "works"


WORKER = """
import os, sys, time
folder, chunks = sys.argv[1], int(sys.argv[2])
seconds, mode, index = float(sys.argv[3]), sys.argv[4], os.environ["JOB_COMPLETION_INDEX"]
print("pod", index, "starts", flush=True)
if mode == "bad":
    sys.exit(2)
if mode == "fails" or (mode == "first-fails" and index == "0"):
    sys.exit("error: it went wrong")
if mode == "once" and not os.path.exists(f"{folder}/tried-{index}"):
    open(f"{folder}/tried-{index}", "w").close()
    sys.exit(1)
for chunk in range(chunks):
    if os.path.exists(f"{folder}/done-{chunk}"):
        continue
    try:
        os.close(os.open(f"{folder}/claim-{chunk}-{int(time.time() / 2)}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        continue
    time.sleep(seconds)
    open(f"{folder}/done-{chunk}", "w").close()
if mode == "lingers":
    time.sleep(60)
"""


class World:
    """Chunks to make in a folder, and a Job of pods that make them."""

    def __init__(self, folder: Path, api: KubeApi) -> None:
        self.folder, self.api = folder / "work", api
        self.folder.mkdir()
        self.chunks, self.seconds, self.mode, self.told = 8, 0.02, "", None
        self.controller = JobController(api, folder, self.command)

    told: ThinkSafeError | None

    def command(self, job: Any) -> list[str]:
        return [sys.executable, "-c", WORKER, str(self.folder), str(self.chunks), str(self.seconds), self.mode]

    def done(self) -> bool:
        return len(list(self.folder.glob("done-*"))) >= self.chunks

    def run(self, width: int = 2, **changed: Any) -> None:
        cluster = ClusterSettings.model_validate({**CLUSTER, **changed})
        api = connect("serving", section="cluster", retry_seconds=2.0)
        IndexedJobLauncher(
            api, cluster, "sample", KEY, ADDRESS, width, self.done, lambda: self.told, look_seconds=1.0
        ).run()

    def refused(self, **given: Any) -> StageError:
        with pytest.raises(StageError) as refused:
            self.run(**given)
        return refused.value

    def names(self) -> list[str]:
        return [name for plural, name in self.api.objects if plural == "jobs"]

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def meanwhile(self, act: Callable[[], None], condition: Callable[[], bool]) -> threading.Thread:
        """Act in another thread once a condition holds."""
        thread = threading.Thread(target=lambda: (self.until(condition), act()), daemon=True)
        thread.start()
        return thread


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0.05)
    with kube_api(tmp_path, monkeypatch) as api:
        made = World(tmp_path, api)
        try:
            yield made
        finally:
            made.controller.stop()


def test_the_pods_of_a_job_share_the_work_and_nothing_is_left_behind(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.seconds = 0.2
    world.run(width=3)
    assert world.done()
    assert world.names() == []
    assert world.controller.running() == []
    assert sorted(name.removeprefix(NAME)[:3] for name in world.controller.made) == ["-0-", "-1-", "-2-"]
    assert f"Job serving/{NAME}: started" in capsys.readouterr().err


def test_a_pod_that_is_lost_or_deleted_is_replaced(world: World) -> None:
    world.seconds, world.chunks = 0.5, 10
    first: list[str] = []

    def lose() -> None:
        first.extend(world.controller.running())
        world.controller.delete_pod(first[0], disrupted=True)
        world.controller.delete_pod(first[1])

    world.meanwhile(lose, lambda: len(world.controller.running()) == 2)
    world.run(stages={"sample": {"retries": {"count": 1}}})
    assert world.done()
    assert len(first) == 2
    assert len(world.controller.made) == 4


def test_the_work_goes_on_while_one_pod_can_do_it(world: World) -> None:
    world.mode, world.seconds = "first-fails", 0.3
    world.run(stages={"sample": {"retries": {"count": 1}}})
    assert sum(name.startswith(f"{NAME}-0-") for name in world.controller.made) == 2
    assert world.done()  # the Job counts as failed, and all is there


def test_a_pod_that_fails_once_is_tried_again(world: World) -> None:
    world.mode = "once"
    world.run()
    assert len(world.controller.made) >= 3


def test_pods_that_all_fail_fail_the_stage_with_their_last_lines(world: World) -> None:
    world.mode = "fails"
    error = world.refused(stages={"sample": {"retries": {"count": 1}}})
    assert f"The Job '{NAME}' failed (FailedIndexes" in error.problem
    assert "error: it went wrong" in error.problem
    assert "24 h" in error.action
    assert world.names() == [NAME]  # it is kept for inspection

    world.mode = ""
    world.run()  # and replaced by the next attempt
    assert world.names() == []


def test_what_a_pod_reported_is_what_the_stage_says(world: World) -> None:
    world.mode, world.told = "bad", ConfigError("There is no such layer.", "Choose another.")
    with pytest.raises(ConfigError, match="no such layer"):
        world.run(width=4)
    assert len(world.controller.made) <= 4  # nobody tried again
    assert world.names() == []


def test_a_wrong_configuration_is_final_even_if_nothing_was_reported(world: World) -> None:
    world.mode = "bad"
    error = world.refused()
    assert "PodFailurePolicy" in error.problem
    assert "exit code 2" in error.problem
    assert len(world.controller.made) <= 2


def test_memory_that_ran_out_names_the_stages_setting(world: World) -> None:
    world.seconds = 60.0
    world.meanwhile(
        lambda: world.controller.kill(world.controller.running()[0]), lambda: bool(world.controller.running())
    )
    error = world.refused(width=1, stages={"sample": {"retries": {"count": 0}}})
    assert "OOMKilled, exit code 137" in error.problem
    assert "cluster.stages.sample.limits.memory" in error.action


def test_pods_without_a_node_hold_nobody_up_unless_none_has_one(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.controller.places, world.seconds, world.mode = 1, 0.3, "lingers"
    world.run(width=4, stages={"sample": {"start_within": "1s"}})
    assert "3 Pending, 1 Running" in capsys.readouterr().err
    assert len(world.controller.made) == 1  # the stage ended when all was there; the Job was not complete

    for path in world.folder.glob("*-*"):
        path.unlink()
    world.controller.places = 0
    error = world.refused(width=2, stages={"sample": {"start_within": "1s"}})
    assert f"No node can take the pod {NAME}" in error.problem
    assert "cluster.stages.sample.start_within" in error.action
    assert world.names() == []


def test_a_job_waits_in_its_queue_and_starts_with_as_many_pods_as_it_gets(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.controller.admits = 0
    threading.Timer(2.5, lambda: setattr(world.controller, "admits", 2)).start()
    world.run(width=8, jobs={"queue": "gpus"}, stages={"sample": {"start_within": "1s"}})
    assert "waits in its queue" in capsys.readouterr().err
    assert {name.removeprefix(NAME)[:3] for name in world.controller.made} <= {"-0-", "-1-"}


def test_the_deadline_names_its_setting(world: World) -> None:
    world.seconds = 60.0
    error = world.refused(stages={"sample": {"deadline": "1s"}})
    assert "DeadlineExceeded" in error.problem
    assert error.action == "Raise cluster.stages.sample.deadline."


def test_a_complete_job_whose_results_are_missing_is_no_success(world: World) -> None:
    world.chunks, world.mode = 0, ""
    world.done = lambda: False  # type: ignore[method-assign]
    error = world.refused()
    assert "not all in the store" in error.problem
    assert "start the same stage again" in error.action


def test_a_running_job_of_the_same_work_is_taken_up_and_one_of_other_work_is_not(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.seconds = 0.5
    cluster = ClusterSettings.model_validate(CLUSTER)
    world.api.create("jobs", indexed_job(cluster, "sample", KEY, ADDRESS, 2))
    world.run()
    assert "already exists" in capsys.readouterr().err
    assert len(world.controller.made) == 2

    other = indexed_job(cluster, "sample", KEY, ADDRESS, 2)
    other["metadata"]["annotations"] = {"thinksafe/work": "f" * 64}
    world.api.create("jobs", other)
    assert "belongs to other work" in world.refused().problem


def test_a_missing_right_names_the_rule_and_the_way_without_jobs(world: World) -> None:
    world.api.forbidden = {("create", "jobs")}
    error = world.refused()
    assert 'apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"]' in error.action
    assert "sampling.parallelism and evaluation.parallelism to 1" in error.action


TASK = """
import sys
from pathlib import Path
from thinksafe.config.cluster import ClusterSettings
from thinksafe.kube.indexed_job import run_indexed_job
cluster = ClusterSettings.model_validate_json(sys.argv[1])
run_indexed_job(cluster, "sample", sys.argv[2], "address", 2, done=lambda: False, told=lambda: None)
"""


def test_a_stage_that_is_told_to_stop_ends_its_pods(world: World) -> None:
    world.seconds = 60.0
    text = ClusterSettings.model_validate(CLUSTER).model_dump_json()
    task = subprocess.Popen([sys.executable, "-c", TASK, text, KEY], env=dict(os.environ))
    world.until(lambda: len(world.controller.running()) == 2)
    task.terminate()
    assert task.wait(timeout=60) == 128 + signal.SIGTERM
    assert world.names() == []
    assert world.controller.running() == []
