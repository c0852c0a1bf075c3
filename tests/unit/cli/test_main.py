"""The entry point: exit codes, errors for people, and a help that loads nothing heavy."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from thinksafe import __version__
from thinksafe.errors import ConfigError, ConflictError, InputError, StageError, StoreError

HEAVY = (
    "torch", "transformers", "peft", "trl", "pydantic", "datasets", "mlflow", "kfp", "numpy", "scipy", "yaml", "rich",
    "boto3",
)
COMMANDS = (
    "run", "compile", "rollback", "report", "history", "config check", "config show", "config schema", "plan",
    "prepare", "sample",
    "judge", "grade", "work", "diagnose", "curate", "train", "register", "metrics", "gate", "promote",
    "publish", "submit", "schedule", "doctor", "config pin",
)


def loaded_by(*args: str) -> tuple[str, set[str]]:
    """Return what a command prints, and the heavy modules that it loads in a process of its own."""
    code = (
        "import sys\nfrom thinksafe.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"sys.stderr.write(' '.join(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("args", [["--help"], ["sample", "--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    out, heavy = loaded_by(*args)
    assert heavy <= {"pydantic"}, "typer itself loads pydantic to read options"
    assert out


def test_help_of_every_command(cli: Callable[..., Any]) -> None:
    top = cli("--help").out
    for command in COMMANDS:
        ended = cli(*command.split(), "--help")
        assert ended.code == 0, command
        assert "Usage" in ended.out
        assert command.split()[0] in top


def test_a_stage_that_is_retried_runs_in_a_child_and_a_wrong_option_is_final() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "thinksafe", *arguments], capture_output=True, text=True, check=False,
            env={**os.environ, "THINKSAFE_RETRIES": "3,600,30"},
        )

    assert run("--version").stdout == f"thinksafe {__version__}\n"
    wrong = run("due", "--plan", "plan.json", "--contamination", "c", "--passed-out", "p", "--if-changed", "perhaps")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ")
    assert "attempt" not in wrong.stderr


def test_version_and_module() -> None:
    done = subprocess.run([sys.executable, "-m", "thinksafe", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"thinksafe {__version__}\n"


@pytest.mark.parametrize(
    "args",
    [
        ["nothing"], ["sample"], ["--nothing"], ["sample", "--shard", "0"], ["work"], ["work", "x", "--worker", "-1"],
        ["run", "micro"], ["config"],
        ["config", "nothing"],
    ],
)
def test_wrong_usage_is_exit_code_2(cli: Callable[..., Any], args: list[str]) -> None:
    ended = cli(*args)
    assert ended.code == 2
    assert "Usage" in ended.err + ended.out
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError, 2), (InputError, 2), (StageError, 1), (StoreError, 1), (ConflictError, 1)],
)
def test_known_errors(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: type[Exception], code: int
) -> None:
    def fail(*args: object) -> None:
        raise error("The problem.", "The action.")

    monkeypatch.setattr("thinksafe.config.load.load_config", fail)
    monkeypatch.setattr("thinksafe.config.load_config", fail)
    ended = cli("config", "show", "micro")
    assert ended == (code, "", "error: The problem.\n  The action.\n")


def test_foreign_errors_show_type_and_place_only(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise ValueError("SECRET model text")

    monkeypatch.setattr("thinksafe.config.load_config", fail)
    monkeypatch.delenv("THINKSAFE_DEBUG", raising=False)
    ended = cli("config", "show", "micro")
    assert ended.code == 1
    assert ended.err.startswith("error: unexpected ValueError at test_main.py:")
    assert "SECRET" not in ended.err
    assert "Traceback" not in ended.err
    monkeypatch.setenv("THINKSAFE_DEBUG", "1")
    with pytest.raises(ValueError, match="SECRET"):
        cli("config", "show", "micro")


def test_a_full_disk_is_named_whatever_library_met_it(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("SECRET") from error

    monkeypatch.setattr("thinksafe.config.load_config", fail)
    monkeypatch.delenv("THINKSAFE_DEBUG", raising=False)
    ended = cli("config", "show", "micro")
    assert ended.code == 1
    assert ended.err.startswith("error: No space left on the disk.\n  Free disk space")


def test_interrupt(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("thinksafe.config.load_config", fail)
    ended = cli("config", "show", "micro")
    assert ended.code == 130
    assert "finished work is kept" in ended.err
