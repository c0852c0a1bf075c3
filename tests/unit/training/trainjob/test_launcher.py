"""The stage that starts a TrainJob and waits: what is Trainer's of it.

No node trains here (tests/unit/stages/test_train_nodes.py trains).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from train_job_stage import CLUSTER, FOLDER, KEY, World, train_job_world
from trainer_controller import Controller, condition

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.shape import Shape
from thinksafe.errors import ConfigError
from thinksafe.run.told import ToldError
from thinksafe.training.trainjob.manifest import train_job


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with train_job_world(tmp_path, monkeypatch) as made:
        yield made


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
