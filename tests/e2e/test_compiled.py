"""Pipelines as they are compiled for a cluster, run task by task as Kubeflow's backend runs them, with S3 and MLflow.

The pods know of servers and credentials what the compiled files give them, out of Secrets and ConfigMaps; see
``tests/support/ir_driver.py``.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml
from cluster_configs import cluster_document
from hub_copies import COMMIT, fill, hub_config
from ir_driver import Backend, PipelineRun
from ir_pods import IRError, Namespace
from job_controller import JobController
from kube_http import kube_api
from micro_runs import SMALL, thinksafe
from mlflow import MlflowClient
from mlflow_servers import MlflowServer, mlflow_server
from reverse_proxy import reverse_proxy
from s3_servers import BUCKET, bucket, moto_s3

from thinksafe.config.pods import JOBS_VARIABLE
from thinksafe.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

STORE, HUB = f"s3://{BUCKET}/prod", f"s3://{BUCKET}/hub"
USER, PASSWORD, TOKEN = "pipeline", "correct horse", "battery-staple"
AUTHORISED = {"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), f"Bearer {TOKEN}"}
ENOUGH = "/realignment/is-due/steerable/enough-examples"
TRACKED = {"plan", "plan-evaluation", "register", "gate", "promote", "deploy", "report"}


@dataclass(frozen=True)
class World:
    """The servers that pods reach, and the namespace they run in."""

    s3: str
    mlflow: str
    server: MlflowServer
    namespace: Namespace
    folder: Path
    controller: JobController

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
            # in place of a service account's token
            "config_maps": [
                {"name": "extra", "keys": {"log.level": "MLFLOW_LOGGING_LEVEL", "kube.config": "KUBECONFIG"}}
            ],
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
        kube_api(folder, patch) as kubernetes,
    ):
        (folder / "pods").mkdir()
        controller = JobController(kubernetes, folder / "pods")
        namespace = Namespace(
            secrets={
                "object-store": {"access.key": s3.access_key, "SECRET_key-1": s3.secret_key},
                "tracking": {"user.name": USER, "pass-word": PASSWORD},
            },
            config_maps={"extra": {"log.level": "WARNING", "kube.config": str(folder / "kubeconfig")}},
        )
        yield World(s3.endpoint, proxy.uri, server, namespace, folder, controller)
        controller.stop()


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
    assert early.states["/evaluation/model-there"] == "SKIPPED"
    assert world.records(early)["plan"]["verdict"] == "nothing to do"
    assert "Nothing to do" in world.report(early)


def test_a_compiled_run_promotes(world: World, promoted: PipelineRun) -> None:
    assert (promoted.state, promoted.failed) == ("SUCCEEDED", []), promoted.text
    assert promoted.states[f"{ENOUGH}/changed/passed/rolled-out"] == "SKIPPED"
    records = world.records(promoted)
    assert {record["status"] for record in records.values()} == {"succeeded"}
    assert {
        "plan", "prepare", "due", "sample-pilot", "judge-pilot", "diagnose", "sample-training", "curate", "train",
        "register", "metrics-base", "metrics-candidate", "metrics-champion", "gate", "promote", "report",
    } <= set(records)
    assert [entry["run_id"] for entry in world.ledger] == [promoted.run_id]
    assert world.champion == "1"
    assert "Promoted" in world.report(promoted)
    assert records["sample-training"]["counts"]["chunks"] == 2
    store = open_store(STORE)
    assert {key.rpartition("/")[2] for key in store.keys("work/")} == {"keys-0.json"}, "what workers needed is gone"


def test_a_run_is_within_what_argo_keeps_and_within_seven_minutes_of_pods(promoted: PipelineRun) -> None:
    assert promoted.bytes < 400_000
    assert promoted.steps <= 44
    assert promoted.seconds == 10 * promoted.steps


def test_wide_stages_start_jobs_that_belong_to_their_pods(world: World, promoted: PipelineRun) -> None:
    wide = {pod.task.rpartition("/")[2]: pod for pod in promoted.pods if JOBS_VARIABLE in pod.environment}
    assert {pod.command[1] for pod in wide.values()} == {"sample", "judge"}
    assert len(wide) == 2, "only training samples have a parallelism above 1 here"
    created = [change[3] for change in world.controller.api.changes if change[1:3] == ("ADDED", "jobs")]
    owners = {job["metadata"]["ownerReferences"][0]["name"] for job in created}
    assert owners == {pod.environment["THINKSAFE_POD_NAME"] for pod in wide.values()}
    assert [job["spec"]["completions"] for job in created] == [2, 2]
    assert len(world.controller.made) >= 4
    assert not [key for key in world.controller.api.objects if key[0] == "jobs"], "they are deleted"


def test_curate_gets_all_samples(promoted: PipelineRun) -> None:
    curate = json.loads(promoted.pod("steerable/curate").command[-1])["inputs"]["artifacts"]
    assert {name: len(given["artifacts"]) for name, given in curate.items()} == {
        "plan": 1, "samples": 1, "verdicts": 1,
    }


def test_pods_have_the_environment_that_was_compiled_and_no_credential_is_anywhere_else(
    world: World, promoted: PipelineRun
) -> None:
    images = world.section()["images"]
    for pod in promoted.pods:
        stage = pod.command[1]
        kind = {"sample": "sampler", "judge": "sampler", "train": "trainer"}.get(stage, "cpu")
        kind = "cpu" if JOBS_VARIABLE in pod.environment else kind
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


@contextmanager
def identities(world: World) -> Iterator[tuple[str, list[bytes]]]:
    """Serve credentials of the object store as a cloud's agent does for workload identities, and take webhooks."""
    seen: list[bytes] = []
    s3 = world.namespace.secrets["object-store"]
    answer = json.dumps({
        "AccessKeyId": s3["access.key"], "SecretAccessKey": s3["SECRET_key-1"], "Token": "session",
        "Expiration": "2999-01-01T00:00:00Z",
    }).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


def test_the_champion_is_measured_and_another_model_raises_the_alarm_on_a_multi_user_cluster(
    world: World, promoted: PipelineRun
) -> None:
    section = world.section(
        "multi-user", s3={"endpoint": world.s3, "region": "eu-central-1"}, config_maps=[],
        mlflow={"uri": world.mlflow, "secret": {"name": "mlflow-token", "token": "token"}},
    )
    with identities(world) as (address, webhooks):
        namespace = Namespace(
            secrets={"mlflow-token": {"token": TOKEN}, "alarm-webhook": {"address": f"{address}/hook"}},
            injected={"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{address}/credentials"},
        )
        path = world.compiled(
            "multi-user", config(section, alarm={"webhook_env": "THINKSAFE_ALARM_WEBHOOK"}), "evaluate"
        )
        backend = Backend(path, path.parent, namespace)
        run = backend.run(model="champion", if_champion=True)
        assert (run.state, run.failed, webhooks) == ("SUCCEEDED", [], []), run.text
        assert run.states["/evaluation/model-there/regressed"] == "SKIPPED"
        worse = backend.run(model="micro://default", overrides=json.dumps(["gate.harm.max=0.1"]))
    assert not any("AWS_ACCESS_KEY_ID" in pod.environment for pod in run.pods)
    assert (worse.state, worse.failed) == ("FAILED", ["alarm"]), worse.text
    assert worse.pods[-1].task == "/report", "the exit task runs all the same"
    assert len(webhooks) == 1
    assert worse.run_id in webhooks[0].decode()
    assert "No alias was moved" in world.report(worse)
    assert world.champion == "1"


def test_a_refused_candidate_on_a_disconnected_cluster(world: World, promoted: PipelineRun) -> None:
    fill(open_store(HUB, foreign=True))
    section = world.section(
        "disconnected", mirrors={"images": "registry.corp.example/mirror", "hub": HUB}, hub={},
        config_maps=[{"name": "proxy", "keys": {"exceptions": "NO_PROXY"}}],
    )
    namespace = replace(
        world.namespace,
        config_maps={"proxy": {"exceptions": "127.0.0.1"}, "corp-ca": {"ca.crt": Path(certifi.where()).read_text()}},
    )
    before = world.ledger
    given = {**hub_config(), "cluster": section, "gate": {"harm": {"max": 0.0001}}, "sampling": {"parallelism": 1}}
    given["evaluation"]["parallelism"] = 1
    run = world.run("disconnected", given | {"training": {"epochs": 1}}, namespace=namespace)
    assert (run.state, run.failed) == ("SUCCEEDED", []), run.text
    assert run.states[f"{ENOUGH}/changed/passed"] == "SKIPPED"
    assert {pod.image.partition("/")[0] for pod in run.pods} == {"registry.corp.example"}
    sample = run.pod("changed/sample-4").environment
    assert (sample["HF_HUB_OFFLINE"], sample["NO_PROXY"]) == ("1", "127.0.0.1")
    assert sample["AWS_CA_BUNDLE"].endswith("config-maps/corp-ca/ca.crt")
    records = world.records(run)
    assert records["gate"]["verdict"] == "refused"
    (key,) = (
        key for key in open_store(STORE).keys("adapters/")
        if key.endswith("adapter_config.json") and records["train"]["outputs"]["trained"] in key
    )
    named = json.loads(open_store(STORE).get(key))
    assert (named["base_model_name_or_path"], named["revision"]) == ("acme/student", COMMIT)
    assert "Refused" in world.report(run)
    assert (world.ledger, world.champion) == (before, "1")


def test_without_its_credentials_a_run_ends_with_words(world: World) -> None:
    quiet = {"AWS_EC2_METADATA_DISABLED": "true"}
    anonymous = world.run(
        "anonymous", config(world.section(s3={"endpoint": world.s3})),
        namespace=replace(world.namespace, injected=quiet),
    )
    assert anonymous.state == "FAILED"
    assert [pod.task for pod in anonymous.pods] == ["/realignment/plan", "/report"]
    assert "Set AWS_ACCESS_KEY_ID" in anonymous.pod("plan").text
    assert "Traceback" not in anonymous.text

    path = world.compiled("secrets", config(world.section(stages={"default": {"retries": {"count": 1}}})))
    secrets = world.namespace.secrets
    wrong = Backend(path, path.parent, Namespace(
        {**secrets, "tracking": {"user.name": USER, "pass-word": "a guess"}}, world.namespace.config_maps
    )).run()
    assert (wrong.state, wrong.failed[0]) == ("FAILED", "plan")
    assert "401" in wrong.pod("plan").text
    assert "attempt 1 of 2" not in wrong.pod("plan").text, "another attempt would be refused, too"
    assert "Traceback" not in wrong.text
    assert "a guess" not in wrong.text

    half = Namespace({**secrets, "object-store": {"access.key": "key"}}, world.namespace.config_maps)
    with pytest.raises(IRError, match="/realignment/plan: the secret has no key SECRET_key-1"):
        Backend(path, path.parent, half).run()
