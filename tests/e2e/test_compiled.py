"""Pipelines as they are compiled for a cluster, run task by task as Kubeflow's backend runs them, with S3 and MLflow.

The pods know of servers and credentials what the compiled files give them, out of Secrets and ConfigMaps; see
``tests/support/ir_driver.py``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_configs import cluster_document
from ir_driver import Backend, PipelineRun
from ir_pods import Namespace
from micro_runs import thinksafe
from mlflow import MlflowClient
from mlflow_servers import MlflowServer, mlflow_server
from reverse_proxy import reverse_proxy
from s3_servers import BUCKET, bucket, moto_s3

from thinksafe.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

STORE, HUB = f"s3://{BUCKET}/prod", f"s3://{BUCKET}/hub"
SMALL = {
    "data": {
        "harmful": [{"name": "harm", "prompts": {"source": "micro", "kind": "harmful", "split": "train", "count": 80}}],
        "benign": [{"name": "fine", "prompts": {"source": "micro", "kind": "benign", "split": "train", "count": 80}}],
    },
    "diagnose": {"prompts": 40},
    "training": {"epochs": 1},
    "evaluation": {
        "shards": 1,
        "benchmarks": [
            {"name": name, "metric": metric, "prompts": {"source": "micro", "kind": of, "split": "test", "count": 100}}
            for name, metric, of in (
                ("harm", "harm", "harmful"), ("twins", "over_refusal", "safe-twin"), ("sums", "reasoning", "reasoning"),
            )
        ],
    },
    "gate": {
        "harm": {"max": 0.9}, "over_refusal": {"max": 0.9}, "reasoning": {"max_loss": 0.3, "margin": 0.4},
        "max_truncated": 0.5, "max_unknown": 0.5,
    },
}
USER, PASSWORD, TOKEN = "pipeline", "correct horse", "battery-staple"
AUTHORISED = {"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), f"Bearer {TOKEN}"}
REPAIR = "/realignment/pilot-and-repair/due/repair/steerable"
JUDGING = f"{REPAIR}/tune-and-judge/enough-examples"
TRACKED = {"plan", "plan-evaluation", "register", "gate", "promote", "deploy", "report"}


@dataclass(frozen=True)
class World:
    """The servers that pods reach, and the namespace they run in."""

    s3: str
    mlflow: str
    server: MlflowServer
    namespace: Namespace
    folder: Path

    def section(self, cluster: str = "plain", **changed: Any) -> dict[str, Any]:
        """Return one of the three clusters at these servers, the keys of its Secrets named unusually."""
        given = {
            "store": STORE,
            "s3": {
                "endpoint": self.s3,
                "secret": {"name": "object-store", "access_key_id": "access.key", "secret_access_key": "SECRET_key-1"},
            },
            "mlflow": {
                "uri": self.mlflow, "secret": {"name": "tracking", "username": "user.name", "password": "pass-word"},
            },
            "config_maps": [{"name": "extra", "keys": {"log.level": "MLFLOW_LOGGING_LEVEL"}}],
            "hub": {"endpoint": "http://127.0.0.1:9"},
        }
        section: dict[str, Any] = yaml.safe_load(cluster_document(cluster, **(given | changed)))["cluster"]
        return section

    def compiled(self, name: str, config: dict[str, Any], pipeline: str = "realign") -> Path:
        folder = self.folder / name
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        done = thinksafe(
            "compile", str(folder / "config.yaml"), "-o", str(folder / "compiled.yaml"), "--pipeline", pipeline
        )
        assert done.returncode == 0, done.stderr
        return folder / "compiled.yaml"

    def run(
        self, name: str, config: dict[str, Any], pipeline: str = "realign", namespace: Namespace | None = None,
        **parameters: Any,
    ) -> PipelineRun:
        """Compile a config and run it."""
        path = self.compiled(name, config, pipeline)
        return Backend(path, path.parent, namespace or self.namespace).run(**parameters)

    def records(self, run: PipelineRun) -> dict[str, Any]:
        store, prefix = open_store(STORE), f"runs/{run.run_id}/"
        return {key.removeprefix(prefix)[:-5]: json.loads(store.get(key)) for key in store.keys(prefix)}

    def report(self, run: PipelineRun) -> str:
        return open_store(STORE).get(f"reports/{run.run_id}/report.html").decode()

    @property
    def ledger(self) -> list[Any]:
        store = open_store(STORE)
        return [json.loads(store.get(key)) for key in sorted(store.keys("promotions/"))]

    @property
    def champion(self) -> str:
        """Version that bears the alias; empty where none does."""
        found = MlflowClient(self.server.uri).search_registered_models()
        return next((model.aliases["champion"] for model in found if "champion" in model.aliases), "")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("compiled")
    with (
        pytest.MonkeyPatch.context() as patch, moto_s3() as s3, bucket(s3, patch),
        mlflow_server(folder / "mlflow") as server,
        reverse_proxy(server.port, authorised=lambda header: header in AUTHORISED) as proxy,
    ):
        namespace = Namespace(
            secrets={
                "object-store": {"access.key": s3.access_key, "SECRET_key-1": s3.secret_key},
                "tracking": {"user.name": USER, "pass-word": PASSWORD},
            },
            config_maps={"extra": {"log.level": "WARNING"}},
        )
        yield World(s3.endpoint, proxy.uri, server, namespace, folder)


def config(section: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"extends": "micro", "cluster": section, **SMALL, **changed}


@pytest.fixture(scope="module")
def early(world: World) -> PipelineRun:
    """An evaluation of the champion, as a schedule starts it, before anything was promoted."""
    return world.run(
        "early", config(world.section()), "evaluate", model="champion", fresh=True, if_champion=True
    )


@pytest.fixture(scope="module")
def promoted(world: World, early: PipelineRun) -> PipelineRun:
    assert early.state == "SUCCEEDED", early.text
    return world.run("realign", config(world.section()))


def test_before_the_first_promotion_an_evaluation_has_nothing_to_do(world: World, early: PipelineRun) -> None:
    assert [pod.task for pod in early.pods] == ["/evaluation/plan-evaluation", "/report"]
    assert early.states["/evaluation/measure-and-compare/model-there"] == "SKIPPED"
    assert world.records(early)["plan"]["verdict"] == "nothing to do"
    assert "Nothing to do" in world.report(early)


def test_a_compiled_run_promotes(world: World, promoted: PipelineRun) -> None:
    assert (promoted.state, promoted.failed) == ("SUCCEEDED", []), promoted.text
    assert promoted.states[f"{JUDGING}/promotion/passed/rollout/rolled-out"] == "SKIPPED"
    records = world.records(promoted)
    assert {record["status"] for record in records.values()} == {"succeeded"}
    assert {
        "plan", "prepare", "due", "sample-pilot-0", "judge-pilot-0", "diagnose", "sample-training-1", "curate", "train",
        "register", "metrics-base", "metrics-candidate", "metrics-champion", "gate", "promote", "report",
    } <= set(records)
    assert [entry["run_id"] for entry in world.ledger] == [promoted.run_id]
    assert world.champion == "1"
    assert "Promoted" in world.report(promoted)
    merged = promoted.pod("steerable/judged-samples/merge")
    given = json.loads(merged.command[-1])["inputs"]["artifacts"]["manifests"]["artifacts"]
    assert ["shards[0]" in one["uri"] for one in given] == [True, False], "both iterations, in order"


def test_pods_have_the_environment_that_was_compiled_and_no_credential_is_anywhere_else(
    world: World, promoted: PipelineRun
) -> None:
    images = world.section()["images"]
    for pod in promoted.pods:
        stage = pod.command[1]
        kind = {"sample": "sampler", "judge": "sampler", "train": "trainer"}.get(stage, "cpu")
        assert pod.image == images[kind]
        assert ("MLFLOW_TRACKING_PASSWORD" in pod.environment) == (stage in TRACKED), stage
        assert pod.environment["AWS_ENDPOINT_URL"] == world.s3
        assert pod.environment["MLFLOW_LOGGING_LEVEL"] == "WARNING"
        assert pod.environment["HOME"].startswith(str(world.folder))
        assert PASSWORD not in " ".join(pod.command) + pod.text
    store = open_store(STORE)
    assert not [key for key in store.keys("") if PASSWORD.encode() in store.get(key)]
    assert PASSWORD not in (world.folder / "realign" / "compiled.yaml").read_text()


def test_a_scheduled_run_of_the_same_inputs_ends_after_due(world: World, promoted: PipelineRun) -> None:
    folder = world.folder / "realign"
    run = Backend(folder / "compiled.yaml", folder, world.namespace).run(if_changed=True)
    assert run.state == "SUCCEEDED", run.text
    assert [pod.command[1] for pod in run.pods] == ["plan", "prepare", "due", "report"]
    assert world.records(run)["due"]["verdict"] == "nothing to do"
    assert [entry["run_id"] for entry in world.ledger] == [promoted.run_id]
    assert "Nothing to do" in world.report(run)
