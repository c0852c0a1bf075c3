"""Who may use an MLflow server, and what is said to who may not: tokens, passwords, the host check."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_servers import MlflowServer
from postgres import PASSWORD, Postgres
from registry_runs import Run, World, failing
from reverse_proxy import Proxy, reverse_proxy

from thinksafe.errors import ConfigError, StageError, ThinkSafeError
from thinksafe.registry.mlflow_client import connect

pytestmark = pytest.mark.slow
TOKEN, SECRET, ESCAPED = "t0ken-of-the-nightly-run", "pa/ss w@rd", "pa%2Fss%20w%40rd"
BASIC = "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()
TRACES = (TOKEN, SECRET, ESCAPED, BASIC.removeprefix("Basic "))


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "USERNAME", "PASSWORD", "URI"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@pytest.fixture
def bearer(tracking_server: MlflowServer) -> Iterator[Proxy]:
    with reverse_proxy(tracking_server.port, authorised=lambda header: header == f"Bearer {TOKEN}") as proxy:
        yield proxy


@pytest.fixture
def basic(tracking_server: MlflowServer) -> Iterator[Proxy]:
    with reverse_proxy(tracking_server.port, authorised=lambda header: header == BASIC) as proxy:
        yield proxy


def everything(world: World, run_id: str) -> Run:
    """Take a run through all stages that talk to MLflow."""
    run = Run(world, run_id)
    for stage in (run.plan, run.register, run.tag, run.promote, run.report):
        stage()
    return run


def written(folder: Path) -> str:
    """Return all that a run left in its folder and store, and what that is called."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    return "\n".join(f"{path}\n{path.read_bytes().decode('utf-8', 'replace')}" for path in files)


def logged(uri: str) -> str:
    """Return all that MLflow holds of runs, models and versions."""
    client = connect(uri)
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = [run.to_dictionary() for run in client.search_runs(experiments, max_results=1000)]
    versions = [dict(version) for version in client.search_model_versions()]
    return json.dumps([runs, versions], default=str)


@pytest.mark.parametrize("token", [None, "", "another-token"])
def test_a_missing_or_wrong_token_is_refused_and_not_repeated(
    bearer: Proxy, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    with pytest.raises(ConfigError, match=f"MLflow at {bearer.uri} could not connect .*401") as caught:
        connect(bearer.uri)
    assert "MLFLOW_TRACKING_TOKEN" in caught.value.action
    assert "another-token" not in str(caught.value)
    assert len(bearer.seen) == 1  # no use in trying again


def test_the_right_token_is_enough_for_every_stage(
    bearer: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    world = World(tmp_path, bearer.uri)
    everything(world, "bearer")
    assert world.alias == world.history[-1][2]
    assert any("mlflow-artifacts" in request for request in bearer.seen)
    text = caplog.text + "".join(capfd.readouterr()) + written(tmp_path) + logged(bearer.uri)
    assert not [trace for trace in TRACES if trace in text]


def test_a_token_that_the_server_sends_back_is_not_shown(
    tracking_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    with (
        reverse_proxy(tracking_server.port, fault=lambda *_: "echo") as proxy,
        pytest.raises(StageError, match=r"Authorization: Bearer \*\*\*") as caught,
    ):
        connect(proxy.uri)
    assert TOKEN not in str(caught.value)


def test_user_and_password_from_the_environment_win_over_a_token(
    basic: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    connect(basic.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "no")
    with pytest.raises(ConfigError, match="401") as caught:
        connect(basic.uri)
    assert "they win over a token" in caught.value.action


def test_a_password_in_the_address_works_and_stays_secret(
    basic: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The address comes from the environment, as from a secret in a cluster; the config does not take it."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{ESCAPED}@127.0.0.1:{basic.port}")
    world = World(tmp_path, "http://unused")
    world.settings = world.settings.model_copy(update={"tracking_uri": ""})
    run = everything(world, "basic")

    basic.fault = lambda *_: "cut"
    errors = [failing(stage) for stage in (run.report, run.register, run.tag, run.promote, run.plan)]
    assert all(error is not None and f"MLflow at {basic.uri} could not" in str(error) for error in errors)
    basic.fault = lambda *_: ""
    text = caplog.text + "".join(capfd.readouterr()) + written(tmp_path) + "".join(map(str, errors))
    assert not [trace for trace in TRACES if trace in text]
    held = logged(f"http://ann:{ESCAPED}@127.0.0.1:{basic.port}")
    assert not [trace for trace in TRACES if trace in held]


def test_a_host_that_the_server_does_not_know_is_told_what_to_allow(tracking_server: MlflowServer) -> None:
    with reverse_proxy(tracking_server.port, host="mlflow.team.svc:5000") as proxy:
        with pytest.raises(ConfigError, match=r"403.*Invalid Host header") as caught:
            connect(proxy.uri)
        assert "Start the server with 127.0.0.1 and 127.0.0.1:* in its --allowed-hosts" in caught.value.action


def test_what_is_no_mlflow_is_called_so() -> None:
    with reverse_proxy(1, fault=lambda *_: "login") as proxy, pytest.raises(StageError) as caught:
        connect(proxy.uri)
    assert "Something else answers at this address" in caught.value.action


@pytest.mark.parametrize("broken", ["password", "database"])
def test_no_password_of_a_database_is_shown(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str], broken: str,
) -> None:
    caplog.set_level(logging.INFO)
    uri = database.uri.replace(":not%40", ":wr0ng%40") if broken == "password" else database.uri + "-missing"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    world = World(tmp_path, "http://unused")
    world.settings = world.settings.model_copy(update={"tracking_uri": ""})
    run = Run(world, "direct")
    run.register_by_hand()
    stages: list[Any] = [run.plan, run.register, run.tag, run.promote]
    errors = []
    for stage in stages:
        with pytest.raises(ThinkSafeError, match="MLflow at postgresql") as caught:
            stage()
        errors.append(str(caught.value))
    text = caplog.text + "".join(capfd.readouterr()) + "".join(errors) + written(tmp_path)
    assert not [trace for trace in (PASSWORD, "wr0ng", "not%40shown", "shown/anywhere") if trace in text]
