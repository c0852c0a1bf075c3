"""Approvals in every kind of store, racing, and against a real MLflow server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from approval_entries import entry
from approved_runs import ApprovedRun, demand
from mlflow_servers import MlflowServer
from registry_runs import World
from s3_servers import bucket

from thinksafe.kube.identity import Identity
from thinksafe.registry import approvals, ledger, sign_off
from thinksafe.registry.mlflow_client import connect
from thinksafe.store import open_store


@pytest.fixture(params=["local", "moto", pytest.param("gateway", marks=pytest.mark.slow)])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "store")
        return
    with bucket(request.getfixturevalue(request.param), monkeypatch) as address:
        yield f"{address}/{tmp_path.name}"


def together(*calls: Callable[[], Any]) -> list[BaseException]:
    """Start calls at the same moment, and return what they raised."""
    barrier, raised = threading.Barrier(len(calls)), []

    def start(call: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            call()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=start, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_racing_entries_are_all_kept_in_every_store(root: str) -> None:
    store = open_store(root)

    def say(who: str) -> Callable[[], Any]:
        return lambda: approvals.add(store, lambda past: entry("approve", who, number=len(past) + 1), "m", "3")

    assert together(*(say(f"person-{number}") for number in range(6))) == []
    found = approvals.entries(store, "m", "3")
    assert [one.number for one in found] == list(range(1, 7))
    assert {one.who for one in found} == {f"person-{number}" for number in range(6)}
    assert approvals.versions(store, "m") == ["3"]


@pytest.mark.slow
def test_two_approvers_at_once_and_one_promotion(
    tracking_server: MlflowServer, tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    model = f"signed-{request.node.callspec.params['root']}"
    world = World(tmp_path / "world", tracking_server.uri, root, model)
    run = ApprovedRun(world, model, demand(required=2))
    assert run.promote().verdict == "awaiting approval"
    client = connect(tracking_server.uri)
    assert client.get_model_version(model, run.version).tags["thinksafe.approval"] == "awaiting approval"
    who = threading.local()
    monkeypatch.setattr(sign_off, "identity", lambda _: Identity(who.name, ""))

    def approve(name: str) -> Callable[[], Any]:
        def call() -> None:
            who.name = name
            sign_off.state_opinion(world.store, model, run.version, "approve", "fine")

        return call

    assert together(approve("ann"), approve("bob")) == []
    # MLflow's tables let one of several that set an alias at once fail; its stage is started again
    assert all("MLflow" in str(error) for error in together(run.promote, run.promote, run.promote))
    assert run.promote().verdict == "promoted"
    (made,) = ledger.entries(world.store, model)
    assert {use.person for use in made.approvals} == {"ann", "bob"}
    assert client.get_model_version(model, run.version).tags["thinksafe.approval"] == "approved"
    assert world.alias == run.version
