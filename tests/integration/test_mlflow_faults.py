"""MLflow dies or loses answers while a candidate is registered and promoted: nothing is half done for good.

The ledger is the truth. At every moment the alias ``champion`` points at a version that the ledger names, and a rerun
of the stage that failed ends as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow_servers import MlflowServer, mlflow_server
from registry_runs import Run, World, failing
from reverse_proxy import Fault, Proxy, reverse_proxy

from thinksafe.jsonl import read_record
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.registry import ledger
from thinksafe.registry.mlflow_client import connect
from thinksafe.registry.registration import Registration

pytestmark = pytest.mark.slow
MOST = 40
"""More requests than a stage makes."""


def check(world: World, direct: str) -> None:
    """Check that the alias names what the ledger has, or nothing."""
    client = connect(direct)
    found = client.search_registered_models(f"name = '{world.model}'")
    alias = found[0].aliases.get("champion") if found else None
    entries = ledger.entries(world.store, world.model)
    assert alias is None or str(alias) in [entry.version for entry in entries]


def check_done(run: Run, direct: str, generation: int) -> None:
    """Check that a run is registered and promoted once, and the alias where it belongs."""
    client, world = connect(direct), run.world
    check(world, direct)
    versions = client.search_model_versions(f"name = '{world.model}' and tags.`thinksafe.run_id` = '{run.run_id}'")
    assert len(versions) == 1
    aliases = client.get_registered_model(world.model).aliases
    assert {name: str(version) for name, version in aliases.items()} == dict.fromkeys(
        ("candidate", "champion"), str(versions[0].version)
    )
    entries = ledger.entries(world.store, world.model)
    assert [entry.run_id for entry in entries].count(run.run_id) == 1
    assert (entries[-1].run_id, entries[-1].generation) == (run.run_id, generation)
    registration = read_record(run.folder / "registration.json", Registration)
    assert registration.version == versions[0].version
    assert {file.path for file in client.list_logged_model_artifacts(registration.model_id)} == set(ADAPTER_FILES)


def from_request(moment: int, first: Fault) -> Callable[[int, str, str], Fault]:
    """Return a fault: one request fails in a way of its own, and after it the server is gone."""
    return lambda number, *_: "" if number < moment else first if number == moment else "cut"


@pytest.mark.parametrize("stage", ["register", "promote"])
@pytest.mark.parametrize("first", ["cut", "lose"])
def test_the_server_is_gone_from_any_request_on(
    tracking_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, first: Fault
) -> None:
    """``cut``: that request never arrived. ``lose``: it was carried out and its answer lost."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    failed = 0
    with reverse_proxy(tracking_server.port) as proxy:
        world = World(tmp_path, proxy.uri, model=f"gone-{stage}-{first}")
        for moment in range(MOST):
            run = Run(world, f"{world.model}-{moment}")
            if stage == "promote":
                run.register()
            call = getattr(run, stage)
            proxy.seen.clear()
            proxy.fault = from_request(moment, first)
            error = failing(call)
            made = len(proxy.seen)
            proxy.fault = lambda *_: ""
            check(world, tracking_server.uri)
            if error is None:
                assert made <= moment  # all requests of the stage have been tried
                break
            assert f"MLflow at {proxy.uri} could not" in error.problem
            assert error.action
            failed += 1
            call()
            if stage == "register":
                run.promote()
            check_done(run, tracking_server.uri, generation=moment + 1)
        else:
            pytest.fail(f"{stage} makes more than {MOST} requests")
    assert failed == moment >= 4


def test_each_first_answer_is_lost_and_nothing_is_done_twice(tracking_server: MlflowServer, tmp_path: Path) -> None:
    """The library repeats a request whose answer did not come, so the server carries out everything twice."""
    with reverse_proxy(tracking_server.port) as proxy:
        world = World(tmp_path, proxy.uri, model="twice")
        run = Run(world, "twice")
        proxy.fault = lambda number, *_: "" if number % 2 else "lose"
        for stage in (run.plan, run.register, run.tag, run.promote, run.report, run.report):
            stage()
        proxy.fault = lambda *_: ""
        check_done(run, tracking_server.uri, generation=1)
    client = connect(tracking_server.uri)
    experiment = client.get_experiment_by_name(world.settings.experiment).experiment_id
    [parent] = client.search_runs([experiment], "tags.`thinksafe.run_id` = 'twice'")
    assert parent.info.status == "FINISHED"
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(found.data.tags["thinksafe.task"] for found in nested) == ["plan", "promote", "register"]
    assert {found.info.status for found in nested} == {"FINISHED"}


@pytest.fixture
def mortal(tmp_path: Path) -> MlflowServer:
    """A server of this test's own."""
    with mlflow_server(tmp_path / "server") as server:
        yield server


def dies_at(server: MlflowServer, proxy: Proxy, wanted: str, when: str) -> None:
    """Kill the server with -9 when a request comes: before it gets it, or when it has carried it out."""

    def fault(_: int, method: str, path: str) -> Fault:
        if wanted not in f"{method} {path}":
            return ""
        if when == "before":
            server.kill()
            return "cut"
        return "lose"

    proxy.fault = fault
    proxy.after = server.kill


def test_the_server_is_killed_and_started_again(mortal: MlflowServer, tmp_path: Path) -> None:
    """Kill -9 of a real server, at the requests that matter."""
    with reverse_proxy(mortal.port) as proxy:
        world = World(tmp_path / "world", proxy.uri)

        def killed(stage: str, run: Run, wanted: str, when: str) -> None:
            dies_at(mortal, proxy, wanted, when)
            error = failing(getattr(run, stage))
            assert error is not None, f"{stage} went on without {wanted}"
            assert f"MLflow at {proxy.uri} could not" in error.problem
            proxy.fault = lambda *_: ""
            mortal.start()
            check(world, mortal.uri)

        first = Run(world, "first")
        killed("register", first, "PUT /api/2.0/mlflow-artifacts", "after")
        assert connect(mortal.uri).search_registered_models() == []
        killed("register", first, "model-versions/create", "after")
        first.register()
        killed("promote", first, "registered-models/alias", "before")
        assert world.history == [("promote", "first", "1")]
        assert world.alias == ""  # the ledger is ahead, never behind
        first.promote()
        check_done(first, mortal.uri, generation=1)

        second = Run(world, "second")
        second.register()
        killed("promote", second, "registered-models/alias", "after")
        assert world.alias == "2"
        second.promote()
        check_done(second, mortal.uri, generation=2)
        dies_at(mortal, proxy, "registered-models/alias", "before")
        assert failing(world.roll_back) is not None
        proxy.fault = lambda *_: ""
        mortal.start()
        assert (world.alias, world.history[-1]) == ("2", ("rollback", "first", "1"))
        assert world.roll_back().generation == 3  # completed, not repeated
        assert world.alias == "1"
