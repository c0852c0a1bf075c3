"""A training on two nodes from the stage to the adapter: real processes on both sides of an API that is a stand-in.

The stage and the nodes run as their containers do; Kubeflow Trainer's controller is the stand-in's, and NCCL is gloo.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_api import KubeApi
from kube_http import kube_api
from node_training import World, section
from plans import write_plan
from trainer_controller import Controller

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.pods import JOBS_VARIABLE, environment
from thinksafe.config.sections import TrainSection
from thinksafe.digests import digest_file
from thinksafe.run.record import StageRecord, list_records
from thinksafe.stages.train import trained_key

pytestmark = pytest.mark.slow

CLUSTER: dict[str, Any] = {
    "images": {kind: f"registry.example/thinksafe/{kind}:1.0.0" for kind in ("cpu", "sampler", "trainer")},
    "store": "s3://models/thinksafe", "mlflow": {"uri": "http://mlflow:5000"}, "namespace": "serving",
    "train_job": {"enabled": True}, "stages": {"train": {"gpu": {"count": 1}}},
}


class Stage(World):
    """A train stage that starts a TrainJob."""

    def __init__(self, folder: Path, student: Path, api: KubeApi) -> None:
        super().__init__(folder, student)
        self.api, self.controller = api, Controller(api, folder)

    def start(self, given: TrainSection, name: str = "first") -> subprocess.Popen[str]:
        settings = ClusterSettings.model_validate(CLUSTER)
        paths = {
            "base": self.folder / "base.json", "examples": self.examples, "artifacts": self.folder / "store",
            "trained-out": self.folder / name / "adapter", "candidate-out": self.folder / name / "candidate.json",
            "decision-out": self.folder / name / "decision.json", "passed-out": self.folder / name / "passed",
        }
        return subprocess.Popen(
            [
                sys.executable, "-m", "thinksafe", "train", "--run-id", name, "--plan",
                str(write_plan(self.folder / f"{name}-plan.json", train=given)),
                *(part for option, path in paths.items() for part in (f"--{option}", str(path))),
            ],
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, JOBS_VARIABLE: environment(settings, "train", starts_job=True)[JOBS_VARIABLE]},
        )

    def finish(self, given: TrainSection, name: str = "first", seconds: float = 240) -> tuple[int, str, StageRecord]:
        stage = self.start(given, name)
        _, said = stage.communicate(timeout=seconds)
        return stage.returncode, said, list_records(self.store, name).found["train"]

    def until(self, condition: Callable[[], bool], stage: subprocess.Popen[str]) -> None:
        end = time.monotonic() + 200
        while not condition():
            assert stage.poll() is None, stage.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.01)

    def checkpointed(self) -> bool:
        return any(key.endswith("manifest.json") for key in self.store.keys("checkpoints/"))

    def made(self) -> int:
        return sum(one.method == "POST" and "trainjobs" in one.path for one in self.api.requests)


@pytest.fixture
def stage(tmp_path: Path, student_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with kube_api(tmp_path, monkeypatch) as api:
        made = Stage(tmp_path, student_folder("qwen"), api)
        try:
            yield made
        finally:
            made.controller.stop()


def test_two_nodes_train_the_adapter_of_two_processes_and_nothing_is_left_behind(stage: Stage) -> None:
    code, said, record = stage.finish(section(nodes=2))
    assert code == 0, said
    assert (record.details["nodes"], record.details["processes"]) == (2, 2)
    assert (record.counts["steps"], record.counts["rows"], record.counts["reused"]) == (4, 5, 0)
    assert record.gpus == 2  # of the job: the stage itself has none
    assert stage.controller.running() == []
    assert not stage.api.objects
    assert [key for key in stage.store.keys("") if key.startswith(("train-jobs/", "checkpoints/"))] == []

    again, said, record = stage.finish(section(nodes=2), "again")
    assert (again, record.counts["reused"], stage.made()) == (0, 1, 1), said  # another run starts no job for it

    (key,) = {key.split("/")[1] for key in stage.store.keys("adapters/")}
    assert key == trained_key(
        stage.base, digest_file(stage.examples), section(processes=2), 2, CLUSTER["images"]["trainer"]
    )


def test_a_node_that_dies_fails_the_stage_with_the_last_lines_of_the_pods(stage: Stage) -> None:
    started = stage.start(section(nodes=2, epochs=4000, checkpoint_steps=1))
    stage.until(stage.checkpointed, started)
    stage.controller.started[1].kill()
    _, said = started.communicate(timeout=240)
    assert started.returncode == 1, said
    record = list_records(stage.store, "first").found["train"]
    assert "failed (FailedJobs" in record.error
    assert "node-0-1: Error, exit code -9" in record.error
    assert "error: Training process 0 of 1 ended with" in record.error  # what the other one logged
    assert not any(text in record.error for text in ("request number", "I say"))


def test_what_a_node_says_is_wrong_is_said_as_by_a_stage_that_trains_itself(stage: Stage) -> None:
    code, said, record = stage.finish(section(nodes=2, target_modules=("q_proj", "query")))
    assert code == 2, said
    assert "no linear layer query" in record.error
    assert record.action.startswith("Choose from")
    assert not stage.api.objects


def test_a_stage_that_was_killed_takes_its_job_up_again(stage: Stage) -> None:
    given = section(nodes=2, epochs=60, checkpoint_steps=3)
    first = stage.start(given)
    stage.until(stage.checkpointed, first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert stage.controller.running() == [0, 1]
    code, said, record = stage.finish(given)
    assert code == 0, said
    assert "already exists" in said
    assert (stage.made(), record.counts["steps"], record.counts["resumed"]) == (1, 120, 0)


def test_a_stage_that_is_told_to_stop_ends_its_nodes_and_the_next_goes_on(stage: Stage) -> None:
    given = section(nodes=2, epochs=60, checkpoint_steps=3)
    first = stage.start(given)
    stage.until(stage.checkpointed, first)
    first.terminate()
    assert first.wait(timeout=60) == 128 + signal.SIGTERM
    assert not stage.api.objects
    assert stage.controller.running() == []
    assert list_records(stage.store, "first").found["train"].status == "failed"
    stage.controller.started.clear()
    code, said, record = stage.finish(given)
    assert code == 0, said
    assert stage.made() == 2
    assert record.counts["resumed"] >= 3
