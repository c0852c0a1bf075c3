from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cluster_configs import cluster_document

from thinksafe.config import load_config, load_suite
from thinksafe.config.pods import DIGEST_VARIABLE
from thinksafe.errors import ConfigError, InputError
from thinksafe.models.hub import mirrored
from thinksafe.models.pins import (
    Pin,
    hub_ids,
    require_compiled_cluster,
    require_pinned,
    require_place_for_nodes,
    resolve,
    unpinned,
)

COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's API as resolving a revision takes."""

    def do_GET(self) -> None:
        known = {f"/api/{kind}/org/known/revision/main" for kind in ("models", "datasets")}
        status = 200 if self.path.split("?")[0] in known else 404
        body = json.dumps({"id": "org/known", "modelId": "org/known", "sha": COMMIT, "siblings": []}).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from huggingface_hub import constants, hf_api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for module in (constants, hf_api):
        monkeypatch.setattr(module, "ENDPOINT", address, raising=False)
    monkeypatch.setattr(hf_api.api, "endpoint", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield address
    server.shutdown()


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_branch_becomes_the_commit_that_it_is_at(hub: str, kind: str) -> None:
    assert resolve(Pin("student.revision", kind, "org/known", "main")) == COMMIT


def test_what_the_hub_does_not_show_is_an_error_that_names_the_key(hub: str) -> None:
    with pytest.raises(InputError, match=r"student\.revision: the hub gives no access to 'org/other'"):
        resolve(Pin("student.revision", "model", "org/other", "main"))


def test_recipes_pin_all_but_the_training_set() -> None:
    loose = unpinned(load_config("qwen3-0.6b"))
    assert [pin.name for pin in loose] == ["UWNSL/SafeChain", "UWNSL/SafeChain"]
    assert [pin.key for pin in loose] == ["data.harmful.0.prompts.revision", "data.benign.0.prompts.revision"]
    assert {pin.key for pin in hub_ids(load_config("qwen3-0.6b"))} >= {
        "student.revision", "guard.filter.revision", "guard.evaluate.revision"
    }


def test_setting_the_keys_pins_a_recipe() -> None:
    changes = [f"{pin.key}={COMMIT}" for pin in unpinned(load_config("qwen3-0.6b"))]
    assert unpinned(load_config("qwen3-0.6b", changes)) == []


def test_a_cluster_refuses_what_is_not_pinned() -> None:
    with pytest.raises(ConfigError, match=r"data\.harmful\.0\.prompts\.revision") as refused:
        require_pinned(load_config(cluster_document(extends="qwen3-0.6b")))
    assert "thinksafe config pin" in refused.value.action
    require_pinned(load_config(cluster_document()))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            'data.harmful=[{name: a, prompts: {source: jsonl, path: harm.jsonl}}]',
            r"data\.harmful\.0\.prompts\.path \(harm\.jsonl\)",
        ),
        (
            "evaluation.benchmarks.0.prompts={source: file, path: ./a.csv}",
            r"evaluation\.benchmarks\.0\.prompts\.path \(\./a\.csv\)",
        ),
        ("student.model=./student", r"student\.model \(\./student\)"),
    ],
)
def test_a_cluster_refuses_files_of_this_folder(change: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as refused:
        require_pinned(load_config(cluster_document(), [change]))
    assert "s3://" in refused.value.action


@pytest.mark.parametrize("path", ["s3://bucket/harm.jsonl", "/cache/harm.jsonl"])
def test_a_cluster_takes_files_that_pods_can_see(path: str) -> None:
    change = f"data.harmful=[{{name: a, prompts: {{source: jsonl, path: {path}}}}}]"
    assert require_pinned(load_config(cluster_document(), [change]))


@pytest.mark.parametrize("address", ["sqlite:////tmp/mlflow.db", "http://other:5000"])
def test_a_cluster_has_one_mlflow(address: str) -> None:
    with pytest.raises(ConfigError, match=r"registry\.tracking_uri and cluster\.mlflow\.uri"):
        require_pinned(load_config(cluster_document(), [f"registry.tracking_uri={address}"]))
    same = require_pinned(load_config(cluster_document())).mlflow.uri
    assert require_pinned(load_config(cluster_document(), [f"registry.tracking_uri={same}/"]))


def test_without_a_cluster_there_is_nothing_to_compile_for() -> None:
    with pytest.raises(ConfigError, match="no section cluster"):
        require_pinned(load_config("micro"))


def test_plan_takes_the_cluster_of_its_pipeline_only(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(cluster_document())
    assert config.cluster is not None
    require_compiled_cluster(config)
    monkeypatch.setenv(DIGEST_VARIABLE, config.cluster.digest)
    require_compiled_cluster(config)
    require_compiled_cluster(load_config(cluster_document(schedule={"enabled": False})))
    with pytest.raises(ConfigError, match="differs from the one that this pipeline was compiled with"):
        require_compiled_cluster(load_config(cluster_document(namespace="elsewhere")))
    with pytest.raises(ConfigError, match="no section cluster"):
        require_compiled_cluster(load_config("micro"))


def test_the_mirror_keeps_copies_by_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mirrored("org/name", COMMIT) == ""
    monkeypatch.setenv("THINKSAFE_HUB_MIRROR", "s3://bucket/hub/")
    assert mirrored("org/name", COMMIT) == f"s3://bucket/hub/org/name/{COMMIT}"
    assert mirrored("org/name", COMMIT, dataset=True) == f"s3://bucket/hub/datasets/org/name/{COMMIT}"
    assert mirrored("s3://bucket/model", "") == mirrored("/models/x", "") == mirrored("micro://default", "") == ""
    with pytest.raises(InputError, match="is not a commit"):
        mirrored("org/name", "main")


def test_config_pin_prints_options_and_writes_a_pinned_config(
    hub: str, cli: Callable[..., Any], tmp_path: Path
) -> None:
    loose, pinned = tmp_path / "loose.yaml", tmp_path / "pinned.yaml"
    loose.write_text("extends: micro\nstudent: {model: org/known, revision: main}\n")
    assert cli("config", "pin", loose).out == f"--set student.revision={COMMIT}\n"
    assert cli("config", "pin", loose, "--out", pinned).code == 0
    assert load_config(str(pinned)).student.revision == COMMIT
    assert "already" in cli("config", "pin", pinned).out


def test_a_suite_is_pinned_too(hub: str, cli: Callable[..., Any], tmp_path: Path) -> None:
    loose, pinned = tmp_path / "suite.yaml", tmp_path / "pinned.yaml"
    guard = "guard: {evaluate: {kind: refusal-match}}"
    benchmarks = "evaluation: {benchmarks: [{name: a, metric: harm, prompts: {source: jsonl, path: s3://bucket/a}}]}"
    loose.write_text(f"name: nightly\nstudent: {{model: org/known, revision: main}}\n{guard}\n{benchmarks}\n")
    assert cli("config", "pin", loose).out == f"--set student.revision={COMMIT}\n"
    assert cli("config", "pin", loose, "--out", pinned).code == 0
    student = load_suite(str(pinned)).student
    assert student is not None
    assert student.revision == COMMIT


def test_several_nodes_need_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIGEST_VARIABLE, raising=False)
    text = cluster_document(train_job={"enabled": True}, stages={})
    several = load_config(text, ["training.nodes=2", "training.processes=2", "training.batch_size=16"])
    with pytest.raises(ConfigError, match=r"training\.nodes is 2.*need a cluster"):
        require_place_for_nodes(several)
    require_place_for_nodes(load_config(text, ["training.processes=2", "training.batch_size=16"]))
    assert several.cluster is not None
    monkeypatch.setenv(DIGEST_VARIABLE, several.cluster.digest)
    require_place_for_nodes(several)
