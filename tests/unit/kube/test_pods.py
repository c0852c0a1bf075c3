"""The pods of a job, shown by those of a TrainJob: why they do not run, how they ended, what they logged."""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from train_job_stage import NAME, World, fail, train_job_world, waits
from trainer_controller import pod

from thinksafe.kube.pods import PodKind, Waiting, unstarted


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with train_job_world(tmp_path, monkeypatch) as made:
        yield made


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


def test_a_pod_that_runs_is_not_one_that_does_not_start() -> None:
    waiting = Waiting(PodKind("train", "node", "job"), limit=0.0)
    running = {"metadata": {"name": "a"}, "status": {"phase": "Running", "containerStatuses": [{"state": {}}]}}
    ended = {"metadata": {"name": "b"}, "status": {"phase": "Succeeded"}}
    assert waiting.trouble([running, ended]) is None
    trouble = waiting.trouble([running, {"metadata": {"name": "c"}, "status": {"phase": "Pending"}}])
    assert trouble is not None
    assert "The pod c has not started" in trouble.problem


HOUR_AGO = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
MISSING = {"name": "main", "state": {"waiting": {
    "reason": "CreateContainerConfigError", "message": 'secret "s3" not found',
}}}


def waits_for(**status: Any) -> Any:
    return {"metadata": {"name": "p", "creationTimestamp": HOUR_AGO}, "status": {"phase": "Pending", **status}}


def scheduled(status: str, reason: str = "", **more: Any) -> list[dict[str, Any]]:
    return [{"type": "PodScheduled", "status": status, "reason": reason, **more}]


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (waits_for(containerStatuses=[MISSING]), 'CreateContainerConfigError: secret "s3" not found'),
        (waits_for(conditions=scheduled("False", "Unschedulable", message="0/3 nodes")), "No node can .* 0/3 nodes"),
        (waits_for(), "has not started after 1800 s"),
        (waits_for(conditions=scheduled("False", "SchedulingGated")), ""),  # in Kueue's queue
        (waits_for(conditions=scheduled("True", lastTransitionTime="2999-01-01T00:00:00Z")), ""),
        (waits_for(phase="Running"), ""),
        (waits_for(phase="Failed"), ""),
    ],
)
def test_time_to_start_is_over_for_pods_that_have_had_it(pod: Any, words: str) -> None:
    error = unstarted(pod, "judge", 1800)
    assert (error is None) == (not words)
    if error is not None:
        assert re.search(words, error.problem)
    assert unstarted(pod, "judge", 7200) is None


def test_an_image_name_that_is_none_needs_no_time() -> None:
    wrong = {"name": "main", "state": {"waiting": {"reason": "InvalidImageName", "message": "a b"}}}
    error = unstarted(waits_for(containerStatuses=[wrong]), "judge", 7200)
    assert error is not None
    assert "cluster.images.sampler" in error.action


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
