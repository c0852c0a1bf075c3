"""What all jobs have in common, shown by a TrainJob over HTTP: how it is made, taken up, watched and ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from train_job_stage import COMPLETE, FOLDER, NAME, World, existing, train_job_world, waits
from trainer_controller import condition, pod

from thinksafe.training.trainjob.manifest import ADAPTER


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with train_job_world(tmp_path, monkeypatch) as made:
        yield made


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


def test_the_deadline_ends_the_job(world: World) -> None:
    waits(world, pod(NAME, 0, None))
    error = world.refused(deadline="2s")
    assert "not complete after 2 s" in error.problem
    assert "train_job.deadline" in error.action
    assert world.jobs() == []


@pytest.mark.parametrize("verb", ["list", "create", "watch"])
def test_a_missing_right_names_the_rule(world: World, verb: str) -> None:
    world.api.controller_seconds = 30.0
    world.api.forbidden = {(verb, "trainjobs")}
    error = world.refused()
    assert f'apiGroups: ["trainer.kubeflow.org"], resources: ["trainjobs"], verbs: ["{verb}"]' in error.action


def test_a_complete_job_without_an_adapter_is_no_success(world: World) -> None:
    world.api.controller = lambda found: COMPLETE
    assert "its results are not all in the store" in world.refused().problem
