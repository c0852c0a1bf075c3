from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plans import write_plan

from thinksafe.config.model import GuardSettings
from thinksafe.config.sections import JudgeSection
from thinksafe.run.manifests import Manifest, write_chunk, write_manifest
from thinksafe.run.parents import forks
from thinksafe.store.local import LocalStore
from thinksafe_pipelines.local import prefork
from thinksafe_pipelines.local.host import Session
from thinksafe_pipelines.local.prefork import ForkedStage

pytestmark = [
    pytest.mark.slow,  # the server imports torch, transformers and MLflow first
    pytest.mark.skipif(not forks(), reason="stages are forked on Linux machines without a GPU only"),
]


@pytest.fixture(autouse=True)
def _server() -> None:
    prefork.warm_up()


def start(tmp_path: Path, *arguments: str, log: str = "log", **variables: str) -> ForkedStage:
    return ForkedStage(["thinksafe", *arguments], {**os.environ, **variables}, tmp_path / log)


def hanging(tmp_path: Path) -> tuple[str, ...]:
    """Options of a stage that waits for ever: it opens a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    return grade(tmp_path, "pipe")


def grade(tmp_path: Path, plan: str) -> tuple[str, ...]:
    return (
        "grade", "--plan", str(tmp_path / plan), "--samples", str(tmp_path / "samples"),
        "--grades-out", str(tmp_path / "out"), "--task", "grade-base",
    )


@pytest.mark.parametrize(("length", "there"), [(40, True), (75, True), (76, False), (200, False)])
def test_no_server_where_the_path_of_its_socket_is_too_long(
    monkeypatch: pytest.MonkeyPatch, length: int, there: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + (length - 1) * "t")
    assert prefork.available() is there


def test_a_stage_has_its_own_log_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    assert start(tmp_path, "--version").wait() == 0
    assert start(tmp_path, *grade(tmp_path, "nowhere")).wait() == 2
    before, version, problem, action, *rest = (tmp_path / "log").read_text().splitlines()
    assert before == "before"
    assert version.startswith("thinksafe ")
    assert problem.startswith("error: ")
    assert "nowhere cannot be read" in problem
    assert action.startswith("  ")
    assert not rest


def test_a_stage_has_its_own_environment(tmp_path: Path, make_sample: Callable[..., Any]) -> None:
    chunk = write_chunk(LocalStore(tmp_path / "store"), "k", 0, [make_sample()])
    write_manifest(tmp_path / "manifest", Manifest(kind="samples", total=1, model="m", chunks=(chunk,)))
    section = JudgeSection(
        guard=GuardSettings(kind="micro-exact"), parts=("whole",), skip_problems=True, chunk_size=1, reasoning="none"
    )
    judge = (
        "judge", "--plan", str(write_plan(tmp_path / "plan.json", judge=section)),
        "--samples", str(tmp_path / "manifest"), "--verdicts-out", str(tmp_path / "out"),
        "--artifacts", str(tmp_path / "store"), "--task", "judge-x",
    )
    assert start(tmp_path, *judge, THINKSAFE_PROGRESS=str(tmp_path / "progress")).wait() == 0
    assert '"judge-x"' in (tmp_path / "progress").read_text()
    assert (tmp_path / "log").read_text() == ""
    assert start(tmp_path, *judge).wait() == 0
    assert "judge-x: judging" in (tmp_path / "log").read_text()


def test_stages_that_start_and_end_at_once_do_not_take_each_others_exit_codes(tmp_path: Path) -> None:
    codes: dict[int, int] = {}

    def run(number: int) -> None:
        wrong = grade(tmp_path, "nowhere")
        for turn in range(5):
            stage = start(tmp_path, *(wrong if number % 2 else ["--version"]), log=f"{number}-{turn}")
            codes[number * 5 + turn] = stage.wait()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == {number * 5 + turn: number % 2 * 2 for number in range(6) for turn in range(5)}


@pytest.mark.parametrize(("send", "number"), [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_a_signal_is_the_exit_code(tmp_path: Path, send: str, number: int) -> None:
    stage = start(tmp_path, *hanging(tmp_path))
    assert stage.poll() is None
    getattr(stage, send)()
    assert stage.wait() == stage.poll() == -number


def test_a_session_runs_forks(tmp_path: Path) -> None:
    class Deaf:
        started = progress = finished = staticmethod(lambda *_: None)

    listener: Any = Deaf()
    session = Session(tmp_path / "logs", listener, forks=True)
    assert not session.execute(["thinksafe", *grade(tmp_path, "nowhere")], {})
    outcome = session.outcomes["grade-base"]
    assert (outcome.exit_code, outcome.stage) == (2, "grade")
    assert "nowhere cannot be read" in outcome.error


RUN = """
import os, sys
from pathlib import Path
from thinksafe.run.parents import forks
from thinksafe.store.local import LocalStore
from thinksafe_pipelines.local import prefork
if __name__ == "__main__":
    prefork.warm_up()
    stage = prefork.ForkedStage(["thinksafe", *sys.argv[2:]], dict(os.environ), Path(sys.argv[1], "log"))
    print(stage._process.pid, os.getpgid(stage._process.pid), flush=True)
    stage.wait()
"""


def test_a_stage_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path), *hanging(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert run.stdout is not None
        pid, group = map(int, run.stdout.readline().split())
        assert group == run.pid
        wait_for(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "grade-base")
    finally:
        run.kill()
        run.wait(10)
    wait_for(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
