from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thinksafe_pipelines.local.host import Session, TaskOutcome, describe, explain, stopping_on_signals


class Heard:
    """Listener that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def started(self, task: str, stage: str) -> None:
        self.calls.append(("started", task))

    def progress(self, task: str, label: str, done: float, total: float, reused: float) -> None:
        self.calls.append(("progress", task))

    def finished(self, outcome: TaskOutcome) -> None:
        self.calls.append(("finished", outcome.task))


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session in which ``thinksafe STAGE --task TASK CODE`` runs CODE in a shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "thinksafe").write_text('#!/bin/sh\nexec sh -c "$4"\n')
    (folder / "thinksafe").chmod(0o755)
    return Session(tmp_path / "logs", Heard(), {"COLOUR": "blue"}, path=folder)


def run(session: Session, code: str, task: str = "train", stage: str = "train", **variables: str) -> TaskOutcome:
    session.execute(["thinksafe", stage, "--task", task, code], variables)
    return session.outcomes[task]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_stage_runs_with_the_sessions_variables_over_the_components(session: Session) -> None:
    outcome = run(session, 'echo "$COLOUR $SIZE"; echo no >&2', COLOUR="red", SIZE="big")
    assert (outcome.status, outcome.exit_code, outcome.error) == ("succeeded", 0, "")
    assert Path(outcome.log).read_text() == "blue big\nno\n"
    assert session.listener.calls == [("started", "train"), ("finished", "train")]  # type: ignore[attr-defined]


def test_a_stage_reads_nothing_from_the_terminal(session: Session) -> None:
    assert run(session, "read line && exit 1 || exit 0").status == "succeeded"


def test_the_error_is_what_the_stage_said(session: Session) -> None:
    outcome = run(session, "printf 'working\\nerror: No space.\\n  Free some.\\n' >&2; exit 2")
    assert (outcome.status, outcome.exit_code) == ("failed", 2)
    assert (outcome.error, outcome.action) == ("No space.", "Free some.")


def test_after_a_failure_only_exit_stages_and_repeats_run(session: Session) -> None:
    run(session, "exit 1")
    assert not session.execute(["thinksafe", "gate", "--task", "gate", "exit 0"], {})
    assert "gate" not in session.outcomes
    assert run(session, "exit 0", task="report", stage="report").status == "succeeded"
    assert run(session, "exit 0").status == "succeeded"
    assert run(session, "exit 0", task="gate", stage="gate").status == "succeeded"


def test_a_task_name_cannot_leave_the_folder_of_logs(session: Session, tmp_path: Path) -> None:
    outcome = run(session, "echo x", task="../../evil")
    assert Path(outcome.log).parent == tmp_path / "logs"


def test_a_missing_command_is_a_failure(session: Session) -> None:
    assert not session.execute(["no-such-command", "train"], {})
    assert "'no-such-command' is not on PATH" in session.outcomes["train"].error


def test_too_long_an_argument_is_a_failure(session: Session) -> None:
    outcome = run(session, "x" * 200_000)
    assert "could not be started" in outcome.error
    assert outcome.exit_code == 126


@pytest.mark.parametrize(("text", "error", "action"), [
    ("error: A.\n  Do B.\n", "A.", "Do B."),
    ("error: old.\n  Old.\nerror: A.\n  Do B.\n", "A.", "Do B."),
    ("error: A:\n  x (line 3): wrong\n  y: wrong\n  Do B.\n", "A:\n  x (line 3): wrong\n  y: wrong", "Do B."),
    ("error: A:\nx: wrong\n  Do B.\nlate output\n", "A:\nx: wrong", "Do B."),
    ("error: A.\n\n  unrelated\n", "A.", "See LOG."),
    ("one\nlast words\n\n", "The stage ended with exit code 1: last words", "See LOG."),
    ("", "The stage ended with exit code 1", "See LOG."),
    ("x" * 100_000 + "\nerror: A.\n  Do B.", "A.", "Do B."),
])
def test_problem_and_action_are_found_in_the_log(tmp_path: Path, text: str, error: str, action: str) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    found = explain(1, log)
    assert (found[0].rstrip("."), found[1]) == (error.rstrip("."), action.replace("LOG", str(log)))


def test_bytes_that_are_not_text_do_not_hide_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe\nerror: A.\n  Do B.\n")
    assert explain(1, tmp_path / "log") == ("A.", "Do B.")


@pytest.mark.parametrize(("code", "name"), [(-15, "SIGTERM"), (-9, "SIGKILL"), (-70, "signal 70")])
def test_a_signal_is_named(tmp_path: Path, code: int, name: str) -> None:
    (tmp_path / "log").write_text("")
    assert name in explain(code, tmp_path / "log")[0]


@pytest.mark.parametrize(("command", "described"), [
    (["thinksafe", "sample", "--task", "sample-base"], ("sample", "sample-base")),
    (["thinksafe", "sample", "--task"], ("sample", "sample")),
    (["thinksafe"], ("thinksafe", "thinksafe")),
])
def test_a_command_is_described(command: list[str], described: tuple[str, str]) -> None:
    assert describe(command) == described


def test_cancelling_stops_what_runs_and_starts_nothing_more(session: Session) -> None:
    thread = threading.Thread(target=run, args=(session, "sleep 60"))
    thread.start()
    wait_for(lambda: session._processes)
    session.cancel()
    thread.join(10)
    assert session.outcomes["train"].status == "cancelled"
    assert run(session, "exit 0", task="report", stage="report").status == "cancelled"


def test_a_stage_that_ignores_sigterm_is_killed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinksafe_pipelines.local.host.GRACE_SECONDS", 0.3)
    thread = threading.Thread(target=run, args=(session, "trap '' TERM; echo ready; while :; do sleep 0.1; done"))
    thread.start()
    wait_for(lambda: (session.logs / "train.log").is_file() and "ready" in (session.logs / "train.log").read_text())
    session.cancel()
    thread.join(10)
    assert session.outcomes["train"].exit_code == -signal.SIGKILL


def test_handlers_of_signals_are_put_back(session: Session) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_signals(session), pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert session.cancelled


RUN = """
import io, sys
from pathlib import Path
from types import SimpleNamespace
from rich.console import Console
from thinksafe_pipelines.commands import run_realign
out = Path(sys.argv[1])
environment = {"FAKE_CALLS": str(out / "calls.jsonl"), "FAKE_HANG": sys.argv[3], "FAKE_PID": str(out / "pid")}
run_realign("name: x", out, "run-1", [], Console(), environment=environment, path=Path(sys.argv[2]))
"""


@pytest.fixture
def hanging(fake_bin: Path, tmp_path: Path) -> Callable[[str], tuple[subprocess.Popen[bytes], int]]:
    """Start a run in a process group of its own whose given task hangs; returns the run and the task's process id."""

    def start(task: str) -> tuple[subprocess.Popen[bytes], int]:
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path), str(fake_bin), task],
            stdout=subprocess.DEVNULL, start_new_session=True,
        )
        pid = tmp_path / "pid"
        return run, int(wait_for(lambda: pid.is_file() and pid.read_text()))

    return start


@pytest.mark.parametrize("task", ["prepare", "sample-training"])  # of the handler and of a condition within a condition
def test_stages_do_not_outlive_a_killed_run(hanging: Any, task: str) -> None:
    run, pid = hanging(task)
    run.kill()
    run.wait(10)
    wait_for(lambda: not alive(pid))


def test_a_signal_to_the_group_reaches_the_stages(hanging: Any) -> None:
    run, pid = hanging("prepare")
    assert os.getpgid(pid) == run.pid
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(10)
    wait_for(lambda: not alive(pid))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
@pytest.mark.parametrize("task", ["prepare", "sample-training"])
def test_a_run_that_is_told_to_stop_stops_its_stages_first(hanging: Any, number: int, code: int, task: str) -> None:
    run, pid = hanging(task)
    run.send_signal(number)
    assert run.wait(60) == code
    assert not alive(pid)


def test_a_stage_that_could_not_even_write_its_error_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    assert explain(1, log) == ("The stage ended with exit code 1.", f"See {log}.")
    monkeypatch.setattr("thinksafe_pipelines.local.host.shutil.disk_usage", lambda path: SimpleNamespace(free=4096))
    problem, action = explain(1, log)
    assert problem == f"The stage ended with exit code 1; no space is left at {tmp_path}."
    assert "Free space" in action
    log.write_text("error: A.\n  Do B.\n")
    assert explain(1, log) == ("A.", "Do B."), "the stage's own words come first"
