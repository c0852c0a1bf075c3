"""With real processes: a stage that ends as it is told, attempt by attempt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from thinksafe.run.attempts import RETRIES_VARIABLE, Attempt, Retries, replaces, wanted
from thinksafe.run.record import StageRecord, find_record
from thinksafe.store.local import LocalStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pods run Linux")

STAGE = """
import os, signal, subprocess, sys, tempfile, time
from pathlib import Path

from thinksafe.run import attempts

folder, pod, ends, records = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(), sys.argv[4]
if records:  # all attempts share the import
    from thinksafe.errors import ThinkSafeError
    from thinksafe.run.record import StageContext, recorded, silent
    from thinksafe.store.local import LocalStore
ended = attempts.supervise(attempts.wanted(os.environ), replacing=pod != "0")
if ended is not None:
    assert records or "pydantic" not in sys.modules
    sys.exit(ended)

def work():
    number = len(list(folder.glob(f"attempt-{pod}-*")))
    Path(tempfile.gettempdir(), "scratch").write_text("x")
    how = ends[min(number, len(ends) - 1)]
    if how == "stray":
        stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (folder / "stray").write_text(str(stray.pid))
        how = "SIGKILL"
    (folder / f"attempt-{pod}-{number}").write_text(f"{os.getpid()} {tempfile.gettempdir()}")
    print(f"out {number}")
    print(f"err {number}", file=sys.stderr)
    sys.stdout.flush()
    if how == "slow":
        time.sleep(60)
    elif how == "careful":
        def stop(*_):
            (folder / "told").write_text("x" * (1 + len(list(folder.glob("told")))))
            sys.exit(7)
        signal.signal(signal.SIGTERM, stop)
        (folder / "ready").touch()
        time.sleep(60)
    elif how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
    elif how != "0":
        sys.exit(int(how))

if not records:
    work()
    sys.exit()

context = StageContext(LocalStore(folder / "store"), "run", "curate", "curate", silent, attempts.current())
try:
    with recorded(context, None):
        work()
except ThinkSafeError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


class Stage:
    """Starts pods of the stage that lie in a folder."""

    def __init__(self, folder: Path, *, records: bool = False) -> None:
        self.folder, self._records = folder, records

    def start(
        self, ends: str, pod: int = 0, retries: Retries = Retries(3, 3600, 0.01)  # noqa: B008
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", STAGE, str(self.folder), str(pod), ends, "records"[: 7 * self._records]],
            text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, RETRIES_VARIABLE: retries.text}, start_new_session=True,
        )

    def run(self, ends: str, **options: object) -> tuple[int, str, str]:
        process = self.start(ends, **options)  # type: ignore[arg-type]
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def started(self, pod: int = 0) -> int:
        return len(list(self.folder.glob(f"attempt-{pod}-*")))

    @property
    def record(self) -> StageRecord:
        found = find_record(LocalStore(self.folder / "store"), "run", "curate")
        assert found is not None
        return found


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def recording(tmp_path: Path) -> Stage:
    """A stage that leaves a record, and so takes longer to start."""
    return Stage(tmp_path, records=True)


def until(there: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while not there():
        assert time.monotonic() < limit
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_stage_that_fails_is_tried_again_until_it_succeeds(recording: Stage) -> None:
    code, out, err = recording.run("1 SIGKILL SIGSEGV 0")
    assert code == 0
    assert out.split("\n")[:4] == ["out 0", "out 1", "out 2", "out 3"]
    said = [line for line in err.splitlines() if line.startswith("thinksafe:")]
    assert [line.split(" after ")[0].removeprefix("thinksafe: ") for line in said] == [
        "attempt 1 of 4 ended with exit code 1", "attempt 2 of 4 ended with SIGKILL",
        "attempt 3 of 4 ended with SIGSEGV",
    ]
    assert [line.split(" starts in ")[1] for line in said] == ["0.01 s.", "0.02 s.", "0.04 s."]
    record = recording.record
    assert record.status == "succeeded"
    failed = record.attempts
    assert [attempt.ended for attempt in failed] == ["exit code 1", "SIGKILL", "SIGSEGV"]
    assert all(isinstance(attempt, Attempt) and 0 < attempt.seconds < 60 for attempt in failed)


@pytest.mark.parametrize("code", [2, 3])
def test_what_another_attempt_would_not_change_is_not_tried_again(stage: Stage, code: int) -> None:
    assert stage.run(str(code))[0] == code
    assert stage.started() == 1


def test_a_stage_gives_up_after_its_retries(recording: Stage) -> None:
    code, _, err = recording.run("1", retries=Retries(2, 3600, 0.01))
    assert (code, recording.started()) == (1, 3)
    assert "attempt 3 of 3 ended with exit code 1" in err
    assert err.rstrip().endswith("none is left.")
    record = recording.record
    assert (record.status, len(record.attempts)) == ("failed", 2)


def test_a_stage_that_was_killed_to_the_end_leaves_a_record(recording: Stage) -> None:
    code, _, err = recording.run("SIGKILL", retries=Retries(1, 3600, 0.01))
    assert (code, recording.started()) == (1, 2)
    record = recording.record
    assert record.error == (
        "Attempt 2 of the stage was killed by SIGKILL, and none is left."
    )
    assert "cluster.stages.curate.limits.memory" in record.action
    assert [attempt.ended for attempt in record.attempts] == ["SIGKILL"]
    assert "none is left" in err


def test_no_attempt_starts_after_the_time_limit(stage: Stage) -> None:
    code, _, err = stage.run("1", retries=Retries(9, 1, 0.6))
    assert code == 1
    assert stage.started() <= 2  # the second wait, of 1.2 s, is too long by itself
    assert "the next one would start after the time limit of 1 s" in err


def test_sigterm_reaches_the_stage_once_and_no_attempt_follows(stage: Stage) -> None:
    process = stage.start("careful")
    until((stage.folder / "ready").exists)
    os.killpg(process.pid, signal.SIGTERM)  # as a container's runtime may do: the group
    assert process.wait(30) == 7
    assert (stage.folder / "told").read_text() == "x"
    assert stage.started() == 1


def test_sigterm_ends_a_stage_that_does_not_handle_it_and_a_wait(stage: Stage) -> None:
    process = stage.start("slow")
    until(stage.started)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    waiting = Stage(stage.folder / "waiting")
    waiting.folder.mkdir()
    process = waiting.start("1", retries=Retries(3, 3600, 600.0))
    assert process.stderr is not None
    until(lambda: "starts in 600 s" in process.stderr.readline())  # type: ignore[union-attr]
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert waiting.started() == 1


def test_the_stage_does_not_outlive_its_parent(stage: Stage) -> None:
    process = stage.start("slow")
    until(lambda: [path for path in stage.folder.glob("attempt-*") if path.read_text()])
    child = int(next(stage.folder.glob("attempt-*")).read_text().split()[0])
    assert alive(child)
    process.kill()
    until(lambda: not alive(child))


def test_a_killed_attempt_leaves_neither_processes_nor_files(stage: Stage) -> None:
    assert stage.run("stray 0")[0] == 0
    assert not alive(int((stage.folder / "stray").read_text()))
    folders = {path.read_text().split()[1] for path in stage.folder.glob("attempt-*")}
    assert len(folders) == 2
    assert not any(Path(folder).exists() for folder in folders)


def test_a_pod_in_the_place_of_one_that_gave_up_does_not_start_again(recording: Stage) -> None:
    recording.run("1", retries=Retries(1, 3600, 0.01))
    before = recording.record
    code, _, err = recording.run("0", pod=1, retries=Retries(1, 3600, 0.01))
    assert recording.started(pod=1) == 0
    assert code == 2
    assert "Kubeflow started it once more" in err
    assert recording.record == before


def test_a_pod_in_the_place_of_a_lost_one_goes_on(recording: Stage) -> None:
    process = recording.start("1 slow")
    until(lambda: recording.started() == 2)
    process.kill()
    process.wait()
    assert recording.run("0", pod=1)[0] == 0


@pytest.mark.parametrize(("node", "again"), [
    ("", False), ("realign-abc.root.plan.executor", False), ("realign-abc.root(0).plan(0).executor(0)", False),
    ("realign-abc.root(0).plan(0).executor(2)", True), ("realign-abc.root(1).plan(0).executor(0)", True),
    ("realign-abc.root(0).for-loop(0).iteration(3:3).executor(0)", False),
])
def test_argo_counts_the_pods_of_a_task_in_their_names(node: str, again: bool) -> None:
    assert replaces(node) == again


def test_the_variable_says_how_often_and_how_long() -> None:
    retries = Retries(3, 604800, 30)
    assert retries.text == "3,604800,30"
    assert wanted({RETRIES_VARIABLE: retries.text}) == retries
    assert wanted({}) is None
