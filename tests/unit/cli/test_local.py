"""The folder of a local run belongs to one run, and to one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thinksafe.cli.local import (
    PUBLISHED,
    claimed,
    local_run,
    local_tracking_uri,
    publish,
    run_tracking_uri,
    store_root,
)
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.store.local import LocalStore


def test_a_new_folder_gets_an_identity(tmp_path: Path) -> None:
    with claimed(tmp_path / "a" / "run", "micro", "digest", "") as run:
        assert run.run_id.startswith("micro-")
        assert local_run(tmp_path / "a" / "run") == run
    with claimed(tmp_path / "other", "micro", "digest", "") as other:
        assert other.run_id != run.run_id


def test_the_same_run_is_resumed(tmp_path: Path) -> None:
    with claimed(tmp_path, "micro", "digest", "s3://b/p") as first:
        (tmp_path / "store").mkdir()
    with claimed(tmp_path, "micro", "digest", "s3://b/p") as second:
        assert first == second


@pytest.mark.parametrize(
    ("digest", "artifacts", "problem"),
    [("other", "", "of another configuration"), ("digest", "s3://b/p", "which uses another store")],
)
def test_another_run_is_refused(tmp_path: Path, digest: str, artifacts: str, problem: str) -> None:
    with claimed(tmp_path, "micro", "digest", ""):
        pass
    with pytest.raises(ConfigError, match=problem), claimed(tmp_path, "micro", digest, artifacts):
        pass


def test_a_run_of_an_earlier_version_is_refused_as_such(tmp_path: Path) -> None:
    with claimed(tmp_path, "micro", "digest", "") as run:
        pass
    record = StageRecord(
        run_id=run.run_id, stage="sample", task="sample-base-0", status="succeeded", started=1.0, seconds=1.0
    )
    write_stage_record(LocalStore(tmp_path / "store"), record)
    with (
        pytest.raises(ConfigError, match=r"of an earlier version .*cannot resume it \(task sample-base-0\)"),
        claimed(tmp_path, "micro", "digest of the same settings under other names", ""),
    ):
        pass


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"not empty .*thesis.tex"), claimed(tmp_path, "micro", "d", ""):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "thesis.tex"]


def test_the_registry_of_a_run_is_its_own_file_or_that_of_its_config(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "elsewhere")
    assert run_tracking_uri(tmp_path / "none", store) == ""
    with claimed(tmp_path / "run", "micro", "d", "") as run:
        assert run_tracking_uri(tmp_path / "run", store) == ""
        config = {"registry": {"model": "m", "tracking_uri": "http://mlflow:5000"}}
        write_stage_record(
            store,
            StageRecord(
                run_id=run.run_id, stage="plan", task="plan", status="succeeded", started=1.0, seconds=1.0,
                details={"config": config},
            ),
        )
        assert run_tracking_uri(tmp_path / "run", store) == "http://mlflow:5000"
        (tmp_path / "run" / "mlflow.db").touch()
        assert run_tracking_uri(tmp_path / "run", store) == local_tracking_uri(tmp_path / "run")


def test_what_a_killed_start_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".tmp-1234").write_text("half of run.json")
    with claimed(tmp_path, "micro", "d", ""):
        pass


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from thinksafe.cli.local import claimed\n"
        "with claimed(Path(sys.argv[1]), 'micro', 'd', ''):\n    print('in', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(StageError, match="Another `thinksafe run`"), claimed(tmp_path, "micro", "d", ""):
            pass
        holder.kill()  # a killed run frees its folder
    with claimed(tmp_path, "micro", "d", ""):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StageError, match="Cannot write"), claimed(folder, "micro", "d", ""):
            pass


def test_store_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Neither a folder nor a store"):
        store_root(None)
    monkeypatch.chdir(tmp_path)
    assert store_root(Path("run")) == str(tmp_path / "run" / "store")
    with claimed(Path("run"), "micro", "d", "s3://b/p"):
        assert store_root(Path("run")) == "s3://b/p"
    assert local_tracking_uri(Path("run")) == f"sqlite:///{tmp_path}/run/mlflow.db"
    assert os.path.isabs(local_tracking_uri(Path("run")).removeprefix("sqlite:///"))


@pytest.mark.parametrize("text", ["", "{}", '{"run_id": "x"}', "[1]"])
def test_a_damaged_identity_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run.json: not a LocalRun"):
        local_run(tmp_path)


def test_published_files_are_those_of_this_attempt(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (tmp_path / "decision.json").write_text("of an earlier attempt")
    store.put("reports/r/report.html", b"<html>")
    store.put("reports/other/metrics.json", b"{}")
    assert publish(store, "r", tmp_path) == [tmp_path / "report.html"]
    assert {path.name for path in tmp_path.iterdir()} & set(PUBLISHED) == {"report.html"}


def test_a_folder_is_free_again_after_its_run(tmp_path: Path) -> None:
    for _ in range(2):
        with claimed(tmp_path / "run", "micro", "digest", ""):
            pass
    code = (
        "import sys; from pathlib import Path; from thinksafe.cli.local import claimed\n"
        "with claimed(Path(sys.argv[1]), 'micro', 'digest', ''): pass"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=True)
