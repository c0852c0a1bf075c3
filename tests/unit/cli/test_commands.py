"""The commands of people that need no run: config show, check and schema, compile, rollback, report, history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import report_runs as runs
import yaml

from thinksafe.config import load_config
from thinksafe.config.load import canonical
from thinksafe.deciding import feasibility
from thinksafe.deciding.power import Finding
from thinksafe.errors import ConfigError
from thinksafe.run.record import write_stage_record
from thinksafe.store.local import LocalStore


def test_config_show_is_a_config(cli: Callable[..., Any], tmp_path: Path) -> None:
    ended = cli("config", "show", "micro", "--set", "seed=7", "--set", "gate.harm.max=0.2")
    assert ended.code == 0
    document = yaml.safe_load(ended.out)
    assert document == canonical(load_config("micro", ["seed=7", "gate.harm.max=0.2"]))
    (tmp_path / "shown.yaml").write_text(ended.out)
    assert cli("config", "show", tmp_path / "shown.yaml").out == ended.out


def test_config_schema_is_json(cli: Callable[..., Any]) -> None:
    ended = cli("config", "schema")
    assert ended.code == 0
    assert json.loads(ended.out)["properties"]["seed"]["default"] == 42


def test_benchmarks_are_listed(cli: Callable[..., Any]) -> None:
    ended = cli("benchmarks")
    assert ended.code == 0
    assert "harmbench: HarmBench, standard behaviours\n    harm, 200 prompts, version 1\n    walledai/" in ended.out
    assert "gated: needs HF_TOKEN; licence MIT" in ended.out
    assert "mild-requests" in ended.out


def test_config_check(cli: Callable[..., Any]) -> None:
    ended = cli("config", "check", "micro")
    assert ended.code == 0
    assert "micro: the configuration is valid." in ended.out
    ended = cli("config", "check", "micro", "--set", "gate.harm.max=0", "--set", "gate.min_prompts=1")
    assert ended.code == 2
    assert "error" in ended.out


def test_config_check_says_who_tells_refusals(cli: Callable[..., Any]) -> None:
    def told(*changes: str) -> list[str]:
        out = cli("config", "check", "micro", *(part for change in changes for part in ("--set", change))).out
        return [" ".join(line.split()) for line in out.splitlines() if " guard." in line]

    assert told() == [
        f"ok guard.{use} Whether a text declines is what micro-exact answers." for use in ("filter", "evaluate")
    ]
    phrases, _ = told("guard.filter={kind: llama-guard-3}")
    assert phrases.startswith("warning guard.filter Whether a text declines is told by phrases")
    assert "(qwen3guard, polyguard, wildguard), with every_n: 1 and filter: true" in phrases
    asked, _ = told("guard.filter={kind: llama-guard-3}", "guard.second={kind: wildguard, every_n: 1, filter: true}")
    assert asked == "ok guard.filter Whether a text declines is what guard.second (wildguard) answers."
    off, _ = told("guard.filter={kind: llama-guard-3, match_refusals: false}")
    assert off == "warning guard.filter Whether a text declines stays unknown (match_refusals is off)."


def test_a_hopeless_gate_is_refused_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("micro")
    feasibility.refuse_hopeless_gate(config)
    with pytest.raises(ConfigError, match="can never pass"):
        feasibility.refuse_hopeless_gate(load_config("micro", ["gate.harm.max=0"]))
    warning = Finding(check="harm", message="x", level="warning")
    monkeypatch.setattr(feasibility, "gate_feasibility", lambda loaded: [warning])
    feasibility.refuse_hopeless_gate(config)


@pytest.mark.parametrize("command", ["show", "check"])
@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["mirco"], "Did you mean 'micro'?"),
        (["micro", "--set", "sede=1"], "did you mean 'seed'?"),
        (["micro", "--set", "seed"], "key=value"),
        (["/nowhere/c.yaml"], "neither a file nor a shipped recipe"),
    ],
)
def test_wrong_configurations(cli: Callable[..., Any], command: str, args: list[str], problem: str) -> None:
    ended = cli("config", command, *args)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert problem in ended.err
    assert "Traceback" not in ended.err


def test_compile_checks_the_config_first(cli: Callable[..., Any], tmp_path: Path) -> None:
    ended = cli("compile", "mirco", "-o", tmp_path / "p.yaml")
    assert ended.code == 2
    assert not (tmp_path / "p.yaml").exists()


@pytest.mark.parametrize("args", [[], ["--out", "nowhere"], ["--artifacts", ""], ["--artifacts", "ftp://x"]])
def test_rollback_without_anything_to_roll_back(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cli("rollback", "micro-student", *args)
    assert ended.code in (1, 2)
    assert ended.err.startswith("error: ")


@pytest.mark.parametrize("command", ["rollback", "history"])
def test_a_folder_without_a_run_is_named(cli: Callable[..., Any], tmp_path: Path, command: str) -> None:
    ended = cli(command, "micro-student", "--out", tmp_path / "elsewhere")
    assert ended.code == 2
    assert f"There is no run in {tmp_path / 'elsewhere'}." in ended.err
    assert not (tmp_path / "elsewhere").exists()


def test_a_withdrawal_takes_no_generation(cli: Callable[..., Any], tmp_path: Path) -> None:
    ended = cli("rollback", "micro-student", "--artifacts", tmp_path, "--to", "1", "--withdraw")
    assert ended.code == 2
    assert "--to and --withdraw exclude each other" in ended.err


def test_nothing_to_withdraw(cli: Callable[..., Any], tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    ended = cli("rollback", "micro-student", "--artifacts", tmp_path, "--tracking-uri", uri, "--withdraw")
    assert ended.code == 2
    assert "Nothing has been promoted to 'micro-student' yet" in ended.err


@pytest.mark.parametrize("args", [["nowhere"], []])
def test_report_without_a_run(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cli("report", *args)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_a_report_is_rebuilt_by_the_runs_id(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = LocalStore(tmp_path / "store")
    records = {task: record for task, record in runs.failed().items() if task != "plan"}  # names an MLflow server
    for record in records.values():
        write_stage_record(store, record)
    ended = cli("report", runs.RUN_ID, "--artifacts", "store", "--out", "page.html")
    assert (ended.code, ended.out) == (0, "wrote page.html; not sent to MLflow: no server is named (--tracking-uri)\n")
    assert "The run failed in train" in (tmp_path / "page.html").read_text("utf-8")
    assert store.exists(f"reports/{runs.RUN_ID}/report.html")
    for name in ("another-run", "../x"):
        missing = cli("report", name, "--artifacts", "store", "--out", "none.html")
        assert missing.code == 2
        assert missing.err.startswith("error: ")
    assert not (tmp_path / "none.html").exists()


def test_the_history_of_a_model(cli: Callable[..., Any], tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for record in runs.refused().values():
        write_stage_record(store, record)
    page = tmp_path / "history.html"
    ended = cli("history", "qwen3-safe", "--artifacts", str(tmp_path / "store"), "--html", str(page))
    assert ended.code == 0
    assert "refused" in ended.out
    assert "Nothing has been promoted yet." in page.read_text("utf-8")
    unknown = cli("history", "another", "--artifacts", str(tmp_path / "store"))
    assert unknown.code == 2
    assert "has no version of 'another'" in unknown.err
