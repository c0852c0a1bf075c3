"""An MLflow server that does not answer: every stage that talks to it fails within 30 seconds and says what to do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dead_servers import dripping, refusing, silent, swallowing
from mlflow_servers import MlflowServer, mlflow_server
from postgres import Postgres, missing, postgres
from registry_runs import Run, World, failing
from reverse_proxy import reverse_proxy

from thinksafe.config.load import canonical, load_config
from thinksafe.errors import StageError
from thinksafe.registry import ledger
from thinksafe.registry.mlflow_client import connect
from thinksafe.run.record import StageRecord, list_records, write_stage_record

pytestmark = pytest.mark.slow
SECONDS = 30
NAME = "mlflow.test"


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import what the stages import: on a busy machine that alone takes many seconds."""
    run = everything_but_the_server(World(tmp_path_factory.mktemp("loaded")))
    run.plan()
    failing(run.report)


def everything_but_the_server(world: World) -> Run:
    """Return a run that is ready for every stage that talks to MLflow, and two generations to roll back."""
    run = Run(world, "r")
    run.register_by_hand()
    for generation, name in enumerate(("one", "two"), start=1):
        ledger.append(world.store, Run(world, name).entry(generation, str(generation)))
    run.compare()
    return run


def add_plan(world: World, run_id: str) -> None:
    overrides = ["registry.model=m", f"registry.tracking_uri={world.settings.tracking_uri}"]
    config = canonical(load_config("micro", overrides))
    write_stage_record(
        world.store,
        StageRecord(
            run_id=run_id, stage="plan", task="plan", status="succeeded", started=1.0, seconds=1.0,
            details={"config": config},
        ),
    )


def timed(call: Callable[[], Any]) -> tuple[StageError | None, float]:
    started = time.monotonic()
    error = failing(call)
    return error, time.monotonic() - started


def all_at_once(calls: dict[str, Callable[[], Any]]) -> dict[str, tuple[StageError | None, float]]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return dict(zip(calls, pool.map(timed, calls.values()), strict=True))


DEAD = {
    "refused": (lambda stack, _: stack.enter_context(refusing()), "Check that the server is up"),
    "silent": (lambda stack, _: stack.enter_context(silent()), "Check that the server is up"),
    "two addresses that drop everything": (
        lambda stack, patch: stack.enter_context(swallowing(NAME, patch)), "Check that the server is up",
    ),
    "an endless header": (
        lambda stack, _: stack.enter_context(dripping(lambda: b"X")), "Check that the server is up",
    ),
    "500": (lambda stack, _: stack.enter_context(reverse_proxy(1, fault=lambda *_: "500")).port, "see its log"),
    "503 for an hour": (
        lambda stack, _: stack.enter_context(reverse_proxy(1, fault=lambda *_: "503")).port,
        "Check that the server is up",
    ),
    "cut": (
        lambda stack, _: stack.enter_context(reverse_proxy(1, fault=lambda *_: "cut")).port,
        "Check that the server is up",
    ),
}


@pytest.mark.parametrize("kind", DEAD)
def test_every_stage_fails_in_time_and_says_so(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve, action = DEAD[kind]
    with ExitStack() as stack:
        host = NAME if kind.startswith("two") else "127.0.0.1"
        world = World(tmp_path, f"http://{host}:{serve(stack, monkeypatch)}")
        run, planned = everything_but_the_server(world), Run(world, "planned")
        add_plan(world, "r")
        ended = all_at_once(
            {
                "plan": planned.plan, "register": run.register, "gate": run.tag, "promote": run.promote,
                "rollback": world.roll_back, "report": run.report,
            }
        )
    for stage, (error, seconds) in ended.items():
        assert error is not None, stage
        assert seconds < SECONDS, stage
        assert f"MLflow at {world.settings.tracking_uri} could not connect" in error.problem, stage
        assert action in error.action, stage
    records = {**list_records(world.store, "r").found, **list_records(world.store, "planned").found}
    for task in ("plan", "register", "promote", "report"):
        error, _ = ended[task]
        assert error is not None
        assert (records[task].status, records[task].error, records[task].action) == (
            "failed", error.problem, error.action,
        )
    assert (run.folder / "report.html").is_file()
    assert world.history == [("promote", "one", "1"), ("promote", "two", "2")]


def test_the_command_ends_in_time_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    everything_but_the_server(world)
    command = [sys.executable, "-m", "thinksafe", "rollback", "m", "--artifacts", str(tmp_path / "store")]

    def seconds(port: int) -> float:
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--tracking-uri", f"http://ann:hunter22@127.0.0.1:{port}"], capture_output=True, text=True,
            timeout=120, check=False,
        )
        assert done.returncode == 1
        assert f"error: MLflow at http://127.0.0.1:{port} could not connect" in done.stderr
        assert "Check that the server is up" in done.stderr
        assert "hunter22" not in done.stdout + done.stderr
        return time.monotonic() - started

    with refusing() as port:
        start = seconds(port)  # what starting the command takes on this machine
    with silent() as port:
        assert seconds(port) - start < SECONDS


def test_an_evaluation_of_a_version_ends_in_time_with_a_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "thinksafe", "evaluate", "--suite", "micro", "--model"]

    def ended(model: str, port: int) -> tuple[subprocess.CompletedProcess[str], float]:
        started = time.monotonic()
        out = tmp_path / f"{port}"
        address = f"http://ann:hunter22@127.0.0.1:{port}"
        done = subprocess.run(
            [*command, model, "--out", str(out), "--tracking-uri", address], capture_output=True, text=True,
            timeout=180, check=False,
        )
        assert done.returncode in (1, 2), done.stderr
        assert "hunter22" not in done.stdout + done.stderr
        assert (out / "report.html").is_file()
        return done, time.monotonic() - started

    with refusing() as port:
        done, start = ended("models:/m/1", port)
        assert f"MLflow at http://127.0.0.1:{port} could not connect" in done.stderr
        assert "Check that the server is up" in done.stderr
    with silent() as port:
        done, seconds = ended("models:/m/1", port)
        assert f"MLflow at http://127.0.0.1:{port} could not connect" in done.stderr
        assert seconds - start < 2 * SECONDS, "two stages ask the server: the plan, and the report that says so"


@pytest.mark.parametrize("fault", ["hang", "cut", "500"])
def test_a_server_that_stops_answering_midway(fault: Any, tracking_server: MlflowServer, tmp_path: Path) -> None:
    """Each of several runs is left in the lurch at another request; all of them can be completed."""
    calls, places = {}, {}
    with ExitStack() as stack:
        for moment in (2, 5, 7, 9, 11):
            proxy = stack.enter_context(reverse_proxy(tracking_server.port))
            proxy.fault = lambda number, _, __, moment=moment: fault if number >= moment else ""
            name = f"{fault}-{moment}"
            calls[name], places[name] = Run(World(tmp_path / name, proxy.uri, model=name), name).register, proxy
        for name, (error, seconds) in all_at_once(calls).items():
            assert error is not None, name
            assert seconds < SECONDS, name
            assert f"MLflow at {places[name].uri} could not " in error.problem
        for name, proxy in places.items():
            proxy.fault = lambda *_: ""
            calls[name]()
            versions = connect(proxy.uri).search_model_versions(f"name = '{name}'")
            assert [version.version for version in versions] == ["1"]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MlflowServer, Postgres]]:
    """A server and the PostgreSQL behind it, which this file may stop."""
    if reason := missing():
        pytest.skip(reason)
    with postgres() as database, mlflow_server(tmp_path_factory.mktemp("behind"), database=database.uri) as server:
        yield server, database


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_the_database_behind_the_server_is_gone(
    behind: tuple[MlflowServer, Postgres], tmp_path: Path, how: str
) -> None:
    server, database = behind
    world = World(tmp_path, server.uri)
    run, late = world.run(how), Run(world, f"{how}-late")
    add_plan(world, how)
    (database.stop if how == "stopped" else database.freeze)()
    try:
        ended = all_at_once(
            {"register": late.register, "gate": run.tag, "promote": run.promote, "report": run.report}
        )
    finally:
        (database.start if how == "stopped" else database.thaw)()
    for stage, (error, seconds) in ended.items():
        assert error is not None, stage
        assert seconds < SECONDS, stage
        assert f"MLflow at {server.uri} could not connect" in error.problem
        assert ("see its log" if how == "stopped" else "Check that the server is up") in error.action
    assert world.history == []
    late.register()
    run.promote()
    assert world.history == [("promote", how, world.alias)]
    run.report()
