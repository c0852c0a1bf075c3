from __future__ import annotations

import inspect
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

if TYPE_CHECKING:
    from thinksafe_pipelines.local.runner import RunOutcome

FAKE = Path(__file__).with_name("fake_thinksafe.py")


@pytest.fixture(scope="session")
def fake_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stand-in as its ``thinksafe``."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "thinksafe"
    command.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
    command.chmod(0o755)
    return folder


@dataclass
class FakeRun:
    """Runs a pipeline with the stand-in and tells what it was called with."""

    bin: Path
    out: Path
    document: str = "name: micro\n"
    shown: io.StringIO = field(default_factory=io.StringIO)

    def __call__(self, name: str = "realign", **behaviour: str) -> RunOutcome:
        from thinksafe_pipelines.commands import run_pipeline

        environment = {f"FAKE_{key.upper()}": value for key, value in behaviour.items()}
        return run_pipeline(
            name, self.document, self.out, "run-1", ["seed=7"], Console(file=self.shown, width=120),
            environment={"FAKE_CALLS": str(self.out / "calls.jsonl"), **environment}, path=self.bin,
        )

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "calls.jsonl").read_text().splitlines()]

    def call(self, task: str) -> dict[str, Any]:
        (found,) = (call for call in self.calls if call["task"] == task)
        return found


@pytest.fixture
def fake_run(fake_bin: Path, tmp_path: Path) -> FakeRun:
    return FakeRun(fake_bin, tmp_path)


@pytest.fixture(scope="session")
def promoted(fake_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeRun, RunOutcome]:
    """A realignment that went through to the end, metrics with the real executor module."""
    run = FakeRun(fake_bin, tmp_path_factory.mktemp("promoted"))
    return run, run(executor="metrics")


@pytest.fixture(scope="session", autouse=True)
def quick_stacks() -> None:
    """Spare KFP the source lines of the whole stack, which it reads at every setting of a task and does not use.

    Under pytest that takes most of the time of compiling: the stack is deep, and many modules are loaded.
    """
    from kfp.dsl import pipeline_task

    pipeline_task.inspect = SimpleNamespace(stack=lambda: inspect.stack(0))  # type: ignore[attr-defined]
