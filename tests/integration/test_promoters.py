"""Eight processes promote at once, against a real MLflow server and a store that both only they share."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from mlflow_servers import MlflowServer
from registry_runs import World, promote_when_told
from s3_servers import bucket, moto_s3

from thinksafe.registry import ledger

pytestmark = pytest.mark.slow
PROMOTERS, SECONDS = 8, 240


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "store")
        return
    with moto_s3() as server, bucket(server, monkeypatch) as found:
        yield found


def heard(connection: Connection) -> str:
    assert connection.poll(SECONDS), "a promoter does not answer"
    return str(connection.recv())


def test_one_wins_each_generation_and_the_others_say_whom_they_lost_to(
    tracking_server: MlflowServer, tmp_path: Path, root: str, request: pytest.FixtureRequest
) -> None:
    model = f"raced-{request.node.callspec.params['root']}"
    world = World(tmp_path / "world", tracking_server.uri, root, model)
    names = [f"{model}-{number}" for number in range(PROMOTERS)]
    versions = {name: world.run(name).registered for name in names}
    # Fresh interpreters: a fork would copy the connections of this one.
    context = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    processes = []
    for name in names:
        lines[name], theirs = context.Pipe()
        arguments = (tmp_path / "world", tracking_server.uri, root, model, name, theirs)
        processes.append(context.Process(target=promote_when_told, args=arguments, daemon=True))
        processes[-1].start()
    try:
        assert {heard(line) for line in lines.values()} == {"ready"}
        for generation in range(1, PROMOTERS + 1):
            for step in ("decide", "promote"):
                for line in lines.values():
                    line.send(step)
                said = {name: heard(line) for name, line in lines.items()}
            [winner] = [name for name, word in said.items() if word == "promoted"]
            entries = ledger.entries(world.store, model)
            assert len(entries) == generation
            assert (entries[-1].run_id, entries[-1].version) == (winner, versions[winner])
            assert world.alias == versions[winner]
            for loser in said.keys() - {winner}:
                assert re.search(rf"run {winner} by .*generation {generation}\b", said[loser]), said[loser]
                assert "Start a new run" in said[loser]
            lines.pop(winner).send("")
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    assert sorted(entry.run_id for entry in ledger.entries(world.store, model)) == names
