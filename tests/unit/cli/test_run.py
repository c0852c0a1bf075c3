"""``thinksafe run``: exit codes, and what it hands to the pipeline; the pipeline itself is a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thinksafe.records import Check, Decision
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.store import open_store


class Pipeline:
    """Stands in for ``thinksafe_pipelines.commands``: writes the records of a run that ended in one of several ways."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.calls: list[dict[str, Any]] = []

    def run_realign(
        self, config: str, out: Path, run_id: str, overrides: list[str], console: Any, **options: Any
    ) -> SimpleNamespace:
        self.calls.append({"config": config, "out": out, "run_id": run_id, "overrides": overrides, **options})
        store = open_store(options["artifacts"])
        if self.ending in ("failed", "bad input"):
            code = 2 if self.ending == "bad input" else 1
            return SimpleNamespace(failed=True, error="A stage failed.", action="Do this.", exit_code=code)
        store.put(f"reports/{run_id}/report.html", b"<html></html>")
        if self.ending != "nothing":
            stage = "diagnose" if self.ending == "unsteerable" else "gate"
            passed = self.ending in ("promoted", "passed")
            check = Check(name="harm", passed=passed, value=0.1, n=30, reason="r")
            decision = Decision(
                passed=passed, stopped_by=None if passed else stage, checks=(check,), summary="A summary."
            )
            details = {"decision": decision.model_dump(mode="json")}
            self.record(store, run_id, stage, "passed" if passed else "refused", details)
        if self.ending == "promoted":
            self.record(store, run_id, "promote", "promoted", {})
        return SimpleNamespace(failed=False, error="", action="", exit_code=0)

    @staticmethod
    def record(store: Any, run_id: str, stage: str, verdict: str, details: dict[str, Any]) -> None:
        record = StageRecord(
            run_id=run_id, stage=stage, task=stage, status="succeeded", verdict=verdict, details=details, started=1.0,
            seconds=1.0,
        )
        write_stage_record(store, record)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Pipeline]:
    def install(ending: str) -> Pipeline:
        made = Pipeline(ending)
        monkeypatch.setitem(sys.modules, "thinksafe_pipelines.commands", made)
        return made

    return install


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("promoted", 0), ("passed", 3), ("refused", 3), ("unsteerable", 3), ("failed", 1), ("bad input", 2),
        ("nothing", 1),
    ],
)
def test_exit_code(
    cli: Callable[..., Any], tmp_path: Path, pipeline: Callable[[str], Pipeline], ending: str, code: int
) -> None:
    pipeline(ending)
    ended = cli("run", "micro", "--out", tmp_path / "run")
    assert ended.code == code, ended.err
    assert bool(ended.err) == (code in (1, 2))
    assert "Traceback" not in ended.err


def test_what_the_pipeline_gets(
    cli: Callable[..., Any], tmp_path: Path, pipeline: Callable[[str], Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://the-companys-registry")
    made = pipeline("promoted")
    cli("run", "micro", "--out", tmp_path / "run", "--set", "seed=7")
    (call,) = made.calls
    assert "name: micro" in call["config"]
    assert call["overrides"] == ["seed=7"]
    assert call["artifacts"] == str(tmp_path / "run" / "store")
    inside = f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}"
    assert call["environment"]["MLFLOW_TRACKING_URI"] == inside, "nothing leaves DIR by accident"
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_store_elsewhere(
    cli: Callable[..., Any], tmp_path: Path, pipeline: Callable[[str], Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = pipeline("promoted")
    cli("run", "micro", "--out", "run", "--artifacts", "shared", "--tracking-uri", "http://mlflow")
    assert made.calls[0]["artifacts"] == str(tmp_path / "shared")
    assert made.calls[0]["environment"] == {"MLFLOW_TRACKING_URI": "http://mlflow"}


def test_the_same_folder_resumes_the_same_run(
    cli: Callable[..., Any], tmp_path: Path, pipeline: Callable[[str], Pipeline]
) -> None:
    made = pipeline("failed")
    assert cli("run", "micro", "--out", tmp_path / "run").code == 1
    assert cli("run", "micro", "--out", tmp_path / "run").code == 1
    assert made.calls[0]["run_id"] == made.calls[1]["run_id"]
    ended = cli("run", "micro", "--out", tmp_path / "run", "--set", "seed=7")
    assert (ended.code, len(made.calls)) == (2, 2)
    assert "another configuration" in ended.err


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["mirco"], "Did you mean"),
        (["micro", "--set", "sede=1"], "did you mean 'seed'"),
        (["micro", "--set", "gate.harm.max=0"], "can never pass"),
    ],
)
def test_nothing_runs_on_a_wrong_configuration(
    cli: Callable[..., Any], tmp_path: Path, pipeline: Callable[[str], Pipeline], args: list[str], problem: str
) -> None:
    made = pipeline("promoted")
    ended = cli("run", *args, "--out", tmp_path / "run")
    assert ended.code == 2
    assert problem in ended.err
    assert not made.calls
    assert not (tmp_path / "run").exists()
