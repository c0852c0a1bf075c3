"""The stage that starts a TrainJob and waits: against the Kubernetes API over HTTP, with every way in which it fails.

No node trains here; the controller only sets what it would set (tests/unit/stages/test_train_nodes.py trains).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_api import KubeApi, kube_api
from node_training import EXAMPLES, section
from trainer_controller import Controller, condition, pod

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.shape import Shape
from thinksafe.errors import ConfigError, StageError
from thinksafe.jsonl import write_records
from thinksafe.kube import jobs
from thinksafe.kube.client import connect
from thinksafe.models.references import ModelReference
from thinksafe.run.told import ToldError
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore
from thinksafe.training.launch import Outcome
from thinksafe.training.node import NodeJob
from thinksafe.training.trainjob.launcher import TrainJobLauncher
from thinksafe.training.trainjob.manifest import ADAPTER, job_name, train_job

KEY = "0123456789abcdef" * 4
NAME, FOLDER = job_name(KEY), f"train-jobs/{KEY}"
CLUSTER = {
    "images": {kind: f"registry.example/thinksafe/{kind}:1.0.0" for kind in ("cpu", "sampler", "trainer")},
    "store": "s3://models/thinksafe", "mlflow": {"uri": "http://mlflow:5000"}, "namespace": "serving",
}
COMPLETE = condition("Complete", "AllJobsCompleted")


class World:
    """A store, the API, and an adapter that is there or not."""

    def __init__(self, folder: Path, api: KubeApi) -> None:
        self.api, self.store, self.there = api, LocalStore(folder / "store"), False
        self.examples = folder / "examples.jsonl"
        write_records(self.examples, EXAMPLES)
        base = ModelReference(role="base", student=StudentSettings(model="m"), base_digest="d")
        self.job = NodeJob(
            section=section(nodes=2), base=base, examples_digest="e", key=KEY, run_id="run", task="train"
        )
        self.api.controller = self.trained

    def trained(self, found: Any) -> Any:
        """Do as if the nodes had trained at once."""
        outcome = Outcome(steps=4, curve=[], rows=5, tokens=9, dropped={}, share=1.0, resumed=3)
        self.store.put(f"{FOLDER}/outcome.json", outcome.model_dump_json().encode())
        self.there = True
        return COMPLETE

    def launcher(self, *, retry_seconds: float = 2.0, start_within: str = "30m", **train_job: Any) -> TrainJobLauncher:
        given = {"enabled": True, "deadline": "60s", **train_job}  # a test that goes wrong must end
        stages = {"train": {"start_within": start_within}}
        settings = ClusterSettings.model_validate({**CLUSTER, "train_job": given, "stages": stages})
        api = connect("serving", section="cluster", retry_seconds=retry_seconds)
        return TrainJobLauncher(self.store, settings, api, self.job, self.examples, lambda: self.there, 1.0)

    def run(self, **given: Any) -> int:
        launcher = self.launcher(**given)
        launcher.run()
        return launcher.resumed

    def refused(self, **given: Any) -> StageError:
        with pytest.raises(StageError) as refused:
            self.run(**given)
        return refused.value

    def jobs(self) -> list[str]:
        return [name for plural, name in self.api.objects if plural == "trainjobs"]

    def count(self, method: str) -> int:
        return sum(one.method == method and "trainjobs" in one.path for one in self.api.requests)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0.05)
    with kube_api(tmp_path, monkeypatch) as api:
        yield World(tmp_path, api)


def test_a_job_is_made_watched_and_removed_and_its_folder_with_it(world: World) -> None:
    seen: list[Any] = []

    def look(found: Any) -> Any:
        seen.append((found, json.loads(world.store.get(f"{FOLDER}/job.json"))))
        return world.trained(found)

    world.api.controller = look
    assert world.run() == 3
    ((found, written),) = seen
    assert found["spec"]["trainer"]["args"] == [world.store.uri(f"{FOLDER}/job.json")]
    assert written["key"] == KEY
    assert written["section"]["training"]["nodes"] == 2
    assert world.jobs() == []
    assert world.store.keys("train-jobs/") == []
    (made,) = [one for one in world.api.requests if one.method == "POST"]
    assert made.query["fieldValidation"] == "Strict"  # a Trainer that does not know a field must not drop it


@pytest.mark.parametrize(
    ("method", "action", "options"),
    [
        ("POST", "status", {"code": 503}), ("POST", "drop", {}), ("GET", "status", {"code": 500}), ("GET", "drop", {}),
        ("GET", "delay", {"seconds": 0.5}), ("WATCH", "drop", {}), ("WATCH", "gone", {}), ("WATCH", "half", {}),
        ("WATCH", "status", {"code": 410}), ("WATCH", "status", {"code": 500}), ("DELETE", "status", {"code": 429}),
    ],
)
def test_what_passes_by_waiting_fails_no_training(
    world: World, method: str, action: str, options: dict[str, Any]
) -> None:
    world.api.controller_seconds = 0.5
    world.api.fault(method, "/trainjobs", action, times=2, **options)
    assert world.run(retry_seconds=10.0) == 3
    assert all(one.times == 0 for one in world.api.faults)
    assert world.jobs() == []


def test_a_job_whose_answer_was_lost_is_not_made_twice(world: World) -> None:
    create, lost = world.api.create, []

    def once(plural: str, manifest: Any, **options: Any) -> Any:
        answer = create(plural, manifest, **options)
        if not lost:
            lost.append(answer)
            return 503, {"kind": "Status", "message": "it was made, and nobody heard of it"}
        return answer

    world.api.create = once  # type: ignore[method-assign]
    assert world.run() == 3
    assert world.count("POST") == 2  # the second one met the first


def existing(world: World, status: Any = None, key: str = KEY, **metadata: Any) -> None:
    settings = ClusterSettings.model_validate({**CLUSTER, "train_job": {"enabled": True}})
    found = train_job(settings, key, "address", Shape(2, 1, 4, 4))
    found["metadata"] |= {"name": NAME, **metadata}
    world.api.controller = lambda found: None
    assert world.api.create("trainjobs", found)[0] == 201
    time.sleep(0.1)
    world.api.set_status("trainjobs", NAME, status or {})


def test_a_running_job_of_the_same_adapter_is_taken_up(world: World) -> None:
    existing(world)
    threading.Timer(0.5, lambda: world.api.set_status("trainjobs", NAME, world.trained(None))).start()
    assert world.run() == 3
    assert world.count("POST") == 0


@pytest.mark.parametrize("status", [condition("Failed", "FailedJobs"), COMPLETE])
def test_one_that_ended_without_an_adapter_is_made_anew(world: World, status: Any) -> None:
    existing(world, status)
    world.store.put(f"{FOLDER}/error-0.json", b"of that attempt")
    world.api.controller = world.trained
    assert world.run() == 3
    assert world.count("POST") == 1


def test_another_ones_job_is_left_alone(world: World) -> None:
    existing(world, annotations={ADAPTER: "another"})
    error = world.refused()
    assert "another TrainJob" in error.problem
    assert f"delete trainjob {NAME}" in error.action
    assert world.jobs() == [NAME]


def test_a_job_that_somebody_deletes_fails_the_stage(world: World) -> None:
    world.api.controller = lambda found: None
    threading.Timer(0.8, lambda: world.api.delete("trainjobs", NAME)).start()
    assert "Somebody else deleted the TrainJob" in world.refused().problem


def fail(world: World, *found: Any, logs: str = "", **given: Any) -> None:
    world.api.logs = lambda name: logs

    def failed(job: Any) -> Any:
        world.api.pods[:] = found
        return condition("Failed", "FailedJobs", "jobset failed")

    world.api.controller = failed


def test_a_failed_job_tells_the_last_lines_of_its_pods(world: World) -> None:
    lines = [f"line {number}" for number in range(100)]
    lines += ["50%\r\x1b[32m100%\x1b[0m done", "\x07\x1b]0;title\x07 beeps \u202ereversed", "x" * 5000]
    lines += ["at https://user:hunter22@proxy.example/path"]
    fail(world, pod(NAME, 0, None), pod(NAME, 1, 1), logs="\n".join(lines))
    error = world.refused()
    assert "failed (FailedJobs: jobset failed)" in error.problem
    assert f"{NAME}-node-0-1: Error, exit code 1:" in error.problem
    assert "line 99" in error.problem
    assert "line 80" not in error.problem
    assert "    100% done" in error.problem
    assert not any(sign in error.problem for sign in ("\x1b", "\x07", "\u202e", "hunter22", "50%"))
    assert max(map(len, error.problem.split("\n"))) < 300
    assert world.jobs() == [NAME]  # it is kept for inspection
    assert world.store.keys("train-jobs/") == []  # the text of the examples is not
    assert "24 h" in error.action


def test_many_pods_with_long_lines_make_no_endless_error(world: World) -> None:
    fail(world, *(pod(NAME, rank, 1) for rank in range(8)), logs="\n".join(["y" * 5000] * 500))
    problem = world.refused().problem
    assert "node-0-0: Error" in problem
    assert len(problem) < 4500


def test_memory_that_ran_out_is_told_from_other_ends(world: World) -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-28T01:00:00Z"}
    fail(world, pod(NAME, 0, 1, terminated={"exitCode": 1, "finishedAt": "2026-11-28T01:00:09Z"}),
         pod(NAME, 1, 137, terminated=ended))
    error = world.refused()
    assert error.problem.index("OOMKilled, exit code 137") < error.problem.index("exit code 1\n")
    assert "limits.memory" in error.action


def test_a_pod_that_was_started_anew_tells_how_it_ended_before(world: World) -> None:
    again = pod(NAME, 0, None)
    again["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    fail(world, again, logs="error: what it said before")
    assert "what it said before" in world.refused().problem
    assert any(one.query.get("previous") == "true" for one in world.api.requests)


def test_logs_are_read_once_and_of_the_first_pods_only(world: World) -> None:
    again = [pod(NAME, rank, None) for rank in range(8)]
    for rank, one in enumerate(again):
        ended = {"exitCode": 1, "reason": "Error", "finishedAt": f"2026-11-28T00:00:0{9 - rank}Z"}
        one["status"]["containerStatuses"][0]["lastState"] = {"terminated": ended}
    waits(world, *again)
    world.api.logs = lambda name: f"said by {name}"
    problem = world.refused(deadline="5s").problem
    assert [f"said by {NAME}-node-0-{rank}" in problem for rank in range(8)] == [False] * 5 + [True] * 3
    assert sum(one.path.endswith("/log") for one in world.api.requests) == 3


def test_an_evicted_pod_has_no_log(world: World) -> None:
    evicted = {"metadata": {"name": "p"}, "status": {"phase": "Failed", "reason": "Evicted", "message": "disk"}}
    fail(world, evicted)
    error = world.refused()
    assert "p: Evicted:\n    disk" in error.problem


def test_logs_that_may_not_be_read_hide_no_failure(world: World) -> None:
    world.api.forbidden = {("get", "pods/log")}
    fail(world, pod(NAME, 0, 1))
    problem = world.refused().problem
    assert "exit code 1" in problem
    assert "cannot read its log" in problem


def test_what_a_node_said_is_what_the_stage_says_and_nobody_waits_for_the_job(world: World) -> None:
    said = ToldError(type="ConfigError", problem="It has no layer query.", action="Choose another.", final=True)

    def told(found: Any) -> None:
        world.store.put(f"{FOLDER}/error-1.json", said.model_dump_json().encode())

    world.api.controller = told
    with pytest.raises(ConfigError, match="no layer query") as refused:
        world.run()
    assert refused.value.action == "Choose another."
    assert world.jobs() == []
    assert world.store.keys("train-jobs/") == []


def waits(world: World, *found: Any) -> None:
    def show(job: Any) -> None:
        world.api.pods[:] = found

    world.api.controller = show


def test_a_pod_without_a_node_is_waited_for_and_then_given_up(world: World) -> None:
    pending = pod(NAME, 0, None)
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    pending["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }
    waits(world, pending)
    began = time.monotonic()
    error = world.refused(start_within="2s")
    assert time.monotonic() - began >= 2.0
    assert f"No node can take the pod {NAME}-node-0-0: 0/3 nodes" in error.problem
    assert "cluster.stages.train" in error.action
    assert world.jobs() == []  # nothing waits for GPUs that nobody wants any more


def test_a_job_whose_pods_are_refused_is_given_up_and_one_in_a_queue_is_not(world: World) -> None:
    waits(world)
    error = world.refused(start_within="1s")
    assert f"The TrainJob '{NAME}' has no pods after 1 s" in error.problem
    assert "quota" in error.action

    create = world.api.create
    world.api.create = lambda plural, made, **options: create(  # type: ignore[method-assign]
        plural, {**made, "spec": {**made["spec"], "suspend": True}}, **options
    )
    threading.Timer(2.5, lambda: world.api.set_status("trainjobs", NAME, world.trained(None))).start()
    assert world.run(start_within="1s") == 3


@pytest.mark.parametrize(
    ("reason", "words"),
    [("ImagePullBackOff", "images.trainer"), ("InvalidImageName", "images.trainer"),
     ("CreateContainerConfigError", "secrets")],
)
def test_a_container_that_cannot_start_is_given_up(
    world: World, reason: str, words: str
) -> None:
    waits(world, pod(NAME, 0, None, waiting={"reason": reason, "message": "because"}))
    error = world.refused(start_within="1s")
    assert f"{reason}: because" in error.problem
    assert words in error.action


def test_an_image_that_comes_at_the_second_attempt_fails_nothing(world: World) -> None:
    waits(world, pod(NAME, 0, None, waiting={"reason": "ErrImagePull"}))
    threading.Timer(1.5, lambda: world.api.set_status("trainjobs", NAME, world.trained(None))).start()
    assert world.run() == 3


def test_the_deadline_ends_the_job(world: World) -> None:
    waits(world, pod(NAME, 0, None))
    error = world.refused(deadline="2s")
    assert "not complete after 2 s" in error.problem
    assert "train_job.deadline" in error.action
    assert world.jobs() == []


def test_a_missing_runtime_and_a_missing_trainer_are_told_apart(world: World, tmp_path: Path) -> None:
    Controller(world.api, tmp_path)
    error = world.refused(runtime={"name": "torch-tuned"})
    assert "ClusterTrainingRuntime 'torch-tuned' cannot be used" in error.problem
    assert "cluster.train_job.runtime" in error.action

    world.api.controller = lambda found: condition("Failed", "TrainingRuntimeNotSupported", "no plugin")
    error = world.refused()
    assert "TrainingRuntimeNotSupported" in error.problem
    assert "torch policy" in error.action

    world.api.missing = {"trainjobs"}
    error = world.refused()
    assert "has no trainjobs.trainer.kubeflow.org" in error.problem
    assert "Install Kubeflow Trainer" in error.action


@pytest.mark.parametrize("verb", ["list", "create", "watch"])
def test_a_missing_right_names_the_rule(world: World, verb: str) -> None:
    world.api.controller_seconds = 30.0
    world.api.forbidden = {(verb, "trainjobs")}
    error = world.refused()
    assert f'apiGroups: ["trainer.kubeflow.org"], resources: ["trainjobs"], verbs: ["{verb}"]' in error.action


def test_a_complete_job_without_an_adapter_is_no_success(world: World) -> None:
    world.api.controller = lambda found: COMPLETE
    assert "its results are not all in the store" in world.refused().problem


def test_jobs_that_failed_long_ago_are_removed_and_no_others(world: World) -> None:
    settings = ClusterSettings.model_validate({**CLUSTER, "train_job": {"enabled": True}})
    old, new = condition("Failed", "x"), condition("Failed", "x")
    old["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    world.api.controller = lambda found: None
    theirs = {"app.kubernetes.io/managed-by": "x"}
    for name, status, labels in (("old", old, {}), ("new", new, {}), ("theirs", old, theirs)):
        found = train_job(settings, "k", "address", Shape(2, 1, 4, 4))
        found["metadata"] |= {"name": name, "labels": found["metadata"]["labels"] | labels}
        world.api.create("trainjobs", found)
        world.api.set_status("trainjobs", name, status)
    time.sleep(0.2)
    world.api.controller = world.trained
    world.run()
    assert sorted(world.jobs()) == ["new", "theirs"]
