"""`thinksafe estimate`, and the limit that `submit` and `publish` refuse by, before they speak to a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster_configs import cluster_document
from measured_runs import config_of, leave_run

from thinksafe.store.local import LocalStore

GPUS = {"sample": {"gpu": {"count": 1}}, "train": {"gpu": {"count": 1}}}


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clusters' stores are not there; nobody shall look for their credentials in the network."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_the_command_prints_lines_or_json(cli: Callable[..., Any], store: LocalStore) -> None:
    leave_run(store, config_of())
    shown = cli("estimate", "micro", "--artifacts", store.root)
    assert shown.code == 0, shown.err
    assert shown.out.startswith("micro (realign)")
    told = cli("estimate", "micro", "--artifacts", store.root, "--json", "--set", "training.epochs=6")
    found = json.loads(told.out)
    assert (found["runs"], found["unknown"], found["unit"]) == (["run-1"], [], "hours of this machine")
    assert cli("estimate", "micro", "--pipeline", "repair").code == 2
    assert cli("estimate", "no-such-recipe").code == 2


@pytest.mark.parametrize("command", ["estimate", "submit", "publish"])
def test_a_limit_refuses_before_anything_is_done(cli: Callable[..., Any], tmp_path: Path, command: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(kfp={"host": "http://127.0.0.1:9"}, stages=GPUS))
    ended = cli(command, config, "--set", "cost.limit_gpu_hours=1.0e-9")
    assert ended.code == 2, ended.err
    assert "cost.limit_gpu_hours is 1e-09" in ended.err
    assert "the largest part is" in ended.err
    assert "submitted" not in ended.out


def test_within_the_limit_the_total_is_printed_first(cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(kfp={"host": "http://127.0.0.1:9"}, stages=GPUS))
    ended = cli("submit", config, "--set", "cost.limit_gpu_hours=1000", "--set", "cost.gpu_hour=2")
    assert ended.code == 1, "the server is not there"
    assert ended.out.startswith("estimate: ")
    assert "GPU-hours" in ended.out
    assert "USD" in ended.out
