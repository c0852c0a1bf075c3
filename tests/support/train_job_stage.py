"""A stage that starts a TrainJob and waits for it, against the stand-in of the Kubernetes API; no node trains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kube_api import KubeApi
from kube_http import kube_api
from node_training import EXAMPLES, section
from trainer_controller import condition

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.shape import Shape
from thinksafe.errors import StageError
from thinksafe.jsonl import write_records
from thinksafe.kube import jobs
from thinksafe.kube.client import connect
from thinksafe.models.references import ModelReference
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore
from thinksafe.training.launch import Outcome
from thinksafe.training.node import NodeJob
from thinksafe.training.trainjob.launcher import TrainJobLauncher
from thinksafe.training.trainjob.manifest import job_name, train_job

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


@contextmanager
def train_job_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Start the stand-in, and make the stage look at it often."""
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0.05)
    with kube_api(folder, monkeypatch) as api:
        yield World(folder, api)


def existing(world: World, status: Any = None, key: str = KEY, **metadata: Any) -> None:
    settings = ClusterSettings.model_validate({**CLUSTER, "train_job": {"enabled": True}})
    found = train_job(settings, key, "address", Shape(2, 1, 4, 4))
    found["metadata"] |= {"name": NAME, **metadata}
    world.api.controller = lambda found: None
    assert world.api.create("trainjobs", found)[0] == 201
    time.sleep(0.1)
    world.api.set_status("trainjobs", NAME, status or {})


def fail(world: World, *found: Any, logs: str = "", **given: Any) -> None:
    world.api.logs = lambda name: logs

    def failed(job: Any) -> Any:
        world.api.pods[:] = found
        return condition("Failed", "FailedJobs", "jobset failed")

    world.api.controller = failed


def waits(world: World, *found: Any) -> None:
    def show(job: Any) -> None:
        world.api.pods[:] = found

    world.api.controller = show
