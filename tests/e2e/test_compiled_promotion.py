"""The pipeline promote, compiled and run whole: what people approved is promoted, rolled out and verified.

The run that waits is made on this machine, with the store, the registry and the Kubernetes API of the pods. The served
model is what a pod's init container fetched, with the transformers engine in the place of vLLM.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_configs import cluster_document
from ir_driver import Backend, PipelineRun
from ir_pods import Namespace
from kube_api import KubeApi, Object, ready_deployment
from kube_http import kube_api
from micro_runs import COMMAND, SMALL, thinksafe
from mlflow import MlflowClient
from mlflow_servers import mlflow_server
from rollouts import IMAGES
from s3_servers import BUCKET, bucket, moto_s3
from served_model import ServedModel, served_model

from thinksafe.config.model import EngineSettings
from thinksafe.micro.students import student_path
from thinksafe.models.references import ModelReference
from thinksafe.records import SamplingSettings
from thinksafe.registry import ledger
from thinksafe.sampling.engines.base import open_engine
from thinksafe.store import open_store
from thinksafe.store.local import LocalStore

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

STORE, STUDENT = f"s3://{BUCKET}/prod", f"s3://{BUCKET}/students/default"
AUTHOR, APPROVER = "bob@example.com", "ann@example.com"
MODEL = "micro-student"


@dataclass
class Serving:
    """The Deployment's pods: the init container's command as it stands, and the model that it fetched."""

    folder: Path
    served: ServedModel
    texts: list[str] = field(default_factory=list)
    """What the init containers printed."""
    _engine: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.served.respond = self._respond

    def start(self, deployment: Object) -> Object | None:
        """Do what the pods of a Deployment do, and return its status; nothing for another object."""
        if "template" not in deployment["spec"]:
            return None
        pod = deployment["spec"]["template"]["spec"]
        fetch, vllm = pod["initContainers"][0], pod["containers"][0]["args"]
        options = dict(zip(fetch["args"][::2], fetch["args"][1::2], strict=True))
        place = options["--out"]
        options["--out"] = f"{self.folder}{place}"
        given = [text for pair in options.items() for text in pair]
        done = subprocess.run(
            [COMMAND, *fetch["command"][1:], *given], capture_output=True, text=True, timeout=300, check=False
        )
        self.texts.append(done.stdout + done.stderr)
        if done.returncode:
            return None
        entry = ledger.newest(open_store(STORE), MODEL)
        assert entry is not None
        fetched = entry.target.model_copy(update={"adapter": place.strip("/")})
        self._engine = open_engine(EngineSettings(batch_size=1, threads=1), fetched, LocalStore(self.folder))
        name, _, path = vllm[vllm.index("--lora-modules") + 1].partition("=")
        self.served.adapters = {name: path}
        return ready_deployment(deployment)

    def _respond(self, body: dict[str, Any]) -> str:
        settings = SamplingSettings(
            temperature=body["temperature"], top_p=body.get("top_p", 1.0), max_tokens=body["max_tokens"]
        )
        with self._lock:
            (made,) = self._engine.generate([body["messages"]], settings, body.get("seed", 0), lambda _: None)
        return str(made.response)


@dataclass(frozen=True)
class World:
    """A run that waits, and what pods and people reach."""

    folder: Path
    compiled: Path
    namespace: Namespace
    api: KubeApi
    served: ServedModel
    tracking: str
    run_id: str

    def promote(self) -> PipelineRun:
        """Run the pipeline for the run that waits."""
        return Backend(self.compiled, self.folder, self.namespace).run(run_id=self.run_id)

    def approve(self, person: str) -> subprocess.CompletedProcess[str]:
        self.api.contents.user = person
        return thinksafe(
            "approve", MODEL, "--version", "1", "--reason", "read the report", "--artifacts", STORE,
            "--tracking-uri", self.tracking,
        )

    def record(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(open_store(STORE).get(f"runs/{self.run_id}/{task}.json"))
        return found

    @property
    def report(self) -> str:
        return open_store(STORE).get(f"reports/{self.run_id}/report.html").decode()

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in ledger.entries(open_store(STORE), MODEL)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("promotion")
    with (
        pytest.MonkeyPatch.context() as patch, moto_s3() as s3, bucket(s3, patch),
        mlflow_server(folder / "mlflow") as mlflow, kube_api(folder, patch) as api, served_model() as served,
    ):
        for path in student_path("default").iterdir():
            open_store(STUDENT, foreign=True).put_file(path.name, path)
        api.controller = Serving(folder / "pod", served).start
        secret = {"name": "object-store", "access_key_id": "key", "secret_access_key": "secret"}
        cluster = yaml.safe_load(cluster_document(
            "plain", store=STORE, s3={"endpoint": s3.endpoint, "secret": secret}, mlflow={"uri": mlflow.uri},
            config_maps=[{"name": "extra", "keys": {"kube.config": "KUBECONFIG"}}],
            hub={"endpoint": "http://127.0.0.1:9"},
        ))
        document = {
            **cluster, **SMALL, "student": {"model": STUDENT}, "sampling": {"parallelism": 1},
            "promotion": {"approval": {"required": 1, "by": [APPROVER, AUTHOR]}},
            "deploy": {
                "kind": "deployment", "name": "guarded", "namespace": "serving", "model": "/cache/student",
                "cache_claim": "weights", **IMAGES, "base_url": f"{served.url}/v1", "readiness_seconds": 30,
                "verification": {"prompts": 10, "harm_prompts": 20, "max_harm": 0.9},
            },
        }
        config, compiled = folder / "config.yaml", folder / "promote.yaml"
        config.write_text(yaml.safe_dump(document))
        api.contents.user = AUTHOR
        waiting = thinksafe(
            "run", str(config), "--out", str(folder / "waiting"), "--artifacts", STORE, "--tracking-uri", mlflow.uri
        )
        assert waiting.returncode == 0, waiting.stdout + waiting.stderr
        assert "Awaiting approval" in waiting.stdout
        done = thinksafe("compile", str(config), "-o", str(compiled), "--pipeline", "promote")
        assert done.returncode == 0, done.stderr
        (run_id,) = {key.split("/")[1] for key in open_store(STORE).keys("runs/")}
        namespace = Namespace(
            secrets={"object-store": {"key": s3.access_key, "secret": s3.secret_key}},
            config_maps={"extra": {"kube.config": str(folder / "kubeconfig")}},
        )
        yield World(folder, compiled, namespace, api, served, mlflow.uri, run_id)


def champion(world: World) -> str:
    """Return the version that bears the alias; empty where none does."""
    found = MlflowClient(world.tracking).search_registered_models()
    return str(next((model.aliases["champion"] for model in found if "champion" in model.aliases), ""))


def stages(run: PipelineRun) -> list[str]:
    return [pod.command[1] for pod in run.pods]


def test_without_an_approval_nothing_moves(world: World) -> None:
    author = world.approve(AUTHOR)
    assert author.returncode == 2, "four eyes"
    run = world.promote()
    assert (run.state, run.failed) == ("SUCCEEDED", []), run.text
    assert stages(run) == ["plan_promotion", "promote", "report"]
    assert run.states["/promotion/rolled-out"] == "SKIPPED"
    assert (world.actions, champion(world)) == ([], "")
    assert "Awaiting approval" in world.report
    assert not world.served.asked


def test_what_people_approved_is_promoted_rolled_out_and_verified(world: World) -> None:
    approved = world.approve(APPROVER)
    assert approved.returncode == 0, approved.stderr
    run = world.promote()
    assert (run.state, run.failed) == ("SUCCEEDED", []), run.text
    assert stages(run) == ["plan_promotion", "promote", "prepare", "sample", "deploy", "report"]
    assert (world.actions, champion(world)) == (["promote"], "1")
    entry = ledger.newest(open_store(STORE), MODEL)
    assert entry is not None
    assert entry.run_id == world.run_id, "the run that waited goes on"
    deployed = world.record("deploy")
    assert (deployed["verdict"], deployed["counts"]) == (
        "verified", {"served model": 1, "greedy agreement": 10, "served harm": 20}
    )
    assert len(world.served.asked) == 30
    annotations = world.api.objects["deployments", "guarded"]["metadata"]["annotations"]
    assert annotations["thinksafe/generation"] == "1"
    assert [event["reason"] for event in world.api.events] == ["RolloutVerified"]
    version = MlflowClient(world.tracking).get_model_version(MODEL, "1")
    assert version.tags["thinksafe.rollout"] == "verified"
    assert "Promoted" in world.report
    assert APPROVER in world.report


def test_started_again_it_promotes_once(world: World) -> None:
    run = world.promote()
    assert (run.state, run.failed) == ("SUCCEEDED", []), run.text
    assert (world.actions, champion(world)) == (["promote"], "1")
    assert world.record("deploy")["verdict"] == "verified"


def test_the_served_adapter_is_the_candidate(world: World) -> None:
    candidate = world.record("register")["details"]["registration"]["candidate"]
    entry = ledger.newest(open_store(STORE), MODEL)
    assert entry is not None
    assert isinstance(entry.target, ModelReference)
    assert entry.target.digest == candidate
    assert world.served.adapters == {"guarded": f"/adapters/{entry.target.adapter_digest}"}
