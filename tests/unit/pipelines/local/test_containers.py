"""Stages in containers of a daemon that dies: the run ends, in words, and leaves nothing waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_daemon import DockerDaemon, docker_daemon

from thinksafe.errors import StageError
from thinksafe_pipelines.local import containers as containers_module
from thinksafe_pipelines.local.containers import ContainerProcess, Containers
from thinksafe_pipelines.local.host import Session

GONE = "The Docker daemon went away while the stage ran"


@pytest.fixture
def daemon(tmp_path: Path, fake_bin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerDaemon]:
    (tmp_path / "daemon").mkdir()
    with docker_daemon(tmp_path / "daemon", f"{fake_bin}:{os.environ['PATH']}") as running:
        monkeypatch.setenv("DOCKER_HOST", running.host)
        monkeypatch.setattr(containers_module, "PAUSE_SECONDS", 0.05)
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], ContainerProcess]:
    """Return a function that runs shell code as a container."""
    run = Containers(tmp_path, ("image",))
    return lambda code: run.start("image", ["sh", "-c", code], {}, tmp_path / "log")


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def in_docker(fake_run: Any, name: str = "evaluate", **behaviour: str) -> Any:
    from rich.console import Console

    from thinksafe_pipelines.commands import run_pipeline

    environment = {f"FAKE_{key.upper()}": value for key, value in behaviour.items()}
    return run_pipeline(
        name, "name: micro\n", fake_run.out, "run-1", [], Console(file=fake_run.shown, width=120),
        environment={"FAKE_CALLS": str(fake_run.out / "calls.jsonl"), **environment}, runner="docker",
    )


@pytest.fixture(autouse=True)
def _no_chown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "chown", lambda *arguments, **options: None)  # the stand-in's containers have our user


def test_a_container_ends_with_its_code_and_log(daemon: DockerDaemon, start: Any, tmp_path: Path) -> None:
    process = start("echo said; exit 3")
    assert process.wait() == process.poll() == 3
    assert (tmp_path / "log").read_text() == "said\n"
    assert daemon.containers == {}, "it is removed"


def test_a_pipeline_runs_in_containers(daemon: DockerDaemon, fake_run: Any) -> None:
    outcome = in_docker(fake_run)
    assert (outcome.failed, outcome.error) == (False, "")
    assert daemon.containers == {}


def test_a_daemon_that_dies_while_a_stage_runs_ends_the_run(
    daemon: DockerDaemon, fake_run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pid = tmp_path / "pid"

    def kill() -> None:
        until(pid.is_file)
        daemon.die()

    threading.Thread(target=kill, daemon=True).start()
    outcome = in_docker(fake_run, hang="prepare", pid=str(pid))
    assert (outcome.failed, outcome.failed_task.task) == (True, "prepare")
    assert outcome.error.startswith(GONE)
    assert outcome.action.startswith("Start Docker, then the same command again")
    # the report is tried all the same, and says what it lacks
    assert outcome.tasks[-1].task == "report"
    assert outcome.tasks[-1].error == "No Docker daemon answers."
    assert "Traceback" not in "".join(capfd.readouterr()) + fake_run.shown.getvalue()


def test_a_daemon_that_is_gone_before_a_stage_starts_ends_the_run(
    daemon: DockerDaemon, fake_run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.dies_before = "prepare"
    outcome = in_docker(fake_run)
    assert (outcome.failed, outcome.failed_task.task) == (True, "prepare")
    assert outcome.error.startswith("The stage could not be started: Docker refused it")
    assert "Traceback" not in "".join(capfd.readouterr()) + fake_run.shown.getvalue()


def test_no_daemon_at_the_start_of_a_stage_is_told_by_the_session(daemon: DockerDaemon, tmp_path: Path) -> None:
    class Listener:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: None

    session = Session(tmp_path / "logs", Listener(), containers=Containers(tmp_path, ("image",)))
    daemon.die()
    assert not session.execute(["thinksafe", "train", "--task", "train"], {}, "image")
    outcome = session.outcomes["train"]
    assert (outcome.status, outcome.error) == ("failed", "No Docker daemon answers.")
    assert "DOCKER_HOST" in outcome.action


def test_stopping_a_stage_without_its_daemon_does_nothing(daemon: DockerDaemon, start: Any) -> None:
    process = start("sleep 60")
    daemon.die()
    process.terminate()
    process.kill()
    with pytest.raises(StageError, match=GONE):
        process.wait()
    assert process.poll() == 1, "it counts as ended"


def test_a_connection_that_breaks_is_made_again(daemon: DockerDaemon, start: Any) -> None:
    daemon.breaks = 2
    assert start("sleep 0.5; exit 4").wait() == 4
    assert daemon.waits == 3


def test_a_connection_that_always_breaks_is_given_up(daemon: DockerDaemon, start: Any) -> None:
    daemon.breaks = 1000
    with pytest.raises(StageError, match=GONE):
        start("sleep 60").wait()
    assert daemon.containers == {}, "what cannot be watched is removed"


def test_a_long_stage_is_looked_after_in_between(
    daemon: DockerDaemon, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers_module, "LOOK_SECONDS", 0.2)
    assert start("sleep 1; exit 5").wait() == 5
    assert daemon.waits >= 3


def test_a_daemon_that_says_nothing_any_more_is_not_waited_for(
    daemon: DockerDaemon, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(containers_module, "ANSWER_SECONDS", 0.5)
    process = start("sleep 60")
    daemon.silent.set()
    clock = time.monotonic()
    with pytest.raises(StageError, match=GONE):
        process.wait()
    assert time.monotonic() - clock < 20


def test_a_container_that_somebody_removed_is_told(daemon: DockerDaemon, start: Any) -> None:
    process = start("sleep 60")
    (found,) = daemon.containers.values()
    daemon.containers.clear()
    try:
        with pytest.raises(StageError, match="or lost its container"):
            process.wait()
    finally:
        assert found.process is not None
        found.process.kill()
        found.process.wait()
