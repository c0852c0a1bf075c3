"""Fixtures of all tests: a store, stage contexts, builders of records, an engine without a model, the micro student."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

from thinksafe.config.model import EngineSettings
from thinksafe.config.sections import SampleSection
from thinksafe.digests import digest_bytes
from thinksafe.jsonl import dump_lines, write_json, write_records
from thinksafe.models.references import ModelReference
from thinksafe.records import Prompt, Sample, SamplingSettings, Verdict
from thinksafe.registry.mlflow_sqlite import create_database
from thinksafe.run.manifests import Manifest, write_chunk, write_manifest
from thinksafe.run.record import StageContext, silent
from thinksafe.sampling.engines import Generation
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

# machines of CI are busy: a test must not fail because it took its time
settings.register_profile("thinksafe", deadline=None)
settings.load_profile("thinksafe")


@pytest.fixture(scope="session")
def _mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow") / "template.db"


@pytest.fixture(autouse=True)
def _mlflow_tables(_mlflow_template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy MLflow's tables where this process asks for some in a new file: to make them takes two seconds."""

    def copy(path: Path) -> None:
        if not _mlflow_template.is_file():
            create_database(_mlflow_template)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, contextlib.suppress(FileExistsError):
            os.link(shutil.copyfile(_mlflow_template, Path(folder) / "copy.db"), path)

    monkeypatch.setattr("thinksafe.registry.mlflow_client.create_database", copy)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def make_context(store: LocalStore) -> Callable[..., StageContext]:
    """Return a function from a stage (and a task) to a context in ``store``."""

    def make(stage: str, task: str = "", **changes: Any) -> StageContext:
        given = {"store": store, "run_id": "run-1", "stage": stage, "task": task or stage, "track": silent}
        return StageContext(**(given | changes))

    return make


def build_prompt(key: str = "p-1", **changes: Any) -> Prompt:
    given = {"prompt": f"How do I paint the fence {key}?", "label": "benign", "source": "set"}
    return Prompt(id=key, **(given | changes))


def build_sample(prompt: Prompt | None = None, response: str = "<think>hm</think>Sure.", **changes: Any) -> Sample:
    prompt = prompt or build_prompt()
    arm, index = changes.get("arm", "plain"), changes.get("index", 0)
    given = {
        "id": f"{prompt.id}/{arm}/{index}", "prompt": prompt, "index": index,
        "arm": arm, "response": response, "finish": "stop", "tokens": 5, "prompt_tokens": 4, "seed": 1,
        "settings": SamplingSettings(max_tokens=16),
    }
    return Sample(**(given | changes))


def build_verdict(sample: Sample, verdict: str = "safe", refusal: bool | None = None, **changes: Any) -> Verdict:
    given = {"sample_id": sample.id, "part": "whole", "guard": "g", "verdict": verdict, "refusal": refusal}
    return Verdict(**(given | changes))


@pytest.fixture
def make_prompt() -> Callable[..., Prompt]:
    return build_prompt


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    return build_sample


@pytest.fixture
def make_verdict() -> Callable[..., Verdict]:
    return build_verdict


@pytest.fixture
def write_rows(store: LocalStore, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes rows as the manifest of one or more chunks and gives its path."""

    def write(kind: str, *chunks: list[Any], model: str = "m", name: str = "", **changes: Any) -> Path:
        keys = [f"{name or kind}-{digest_bytes(dump_lines(rows))}" for rows in chunks]  # as ever: one key, one content
        entries = [write_chunk(store, keys[index], index, rows) for index, rows in enumerate(chunks)]
        path = tmp_path / f"{name or kind}.json"
        given = {"kind": kind, "total": len(entries), "model": model, "chunks": tuple(entries)}
        write_manifest(path, Manifest(**(given | changes)))
        return path

    return write


@pytest.fixture
def write_prompts(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: list[Prompt], name: str = "prompts.jsonl") -> Path:
        write_records(tmp_path / name, rows)
        return tmp_path / name

    return write


@pytest.fixture
def sample_section() -> Callable[..., SampleSection]:
    """Return a function that builds a section of the stage sample, small enough for the micro student."""

    def section(**changes: Any) -> SampleSection:
        given: dict[str, Any] = {
            "seed": 5, "engine": EngineSettings(batch_size=8, threads=1), "settings": SamplingSettings(max_tokens=24),
            "n": 1, "n_reasoning": 2, "chunk_size": 3, "template": "prefix",
            "arms": {"harmful": ("plain", "steered"), "benign": ("plain",)}, "reasoning": "think",
        }
        return SampleSection(**(given | changes))

    return section


@dataclass
class ScriptedEngine:
    """An engine whose response tells what it was asked; for tests of chunks, where the model is irrelevant."""

    calls: list[tuple[list[str], SamplingSettings, int]] = field(default_factory=list)
    fail_at: int | None = None
    """Number of the call that fails, from 0."""
    error: type[BaseException] = KeyboardInterrupt
    opened: int = 0

    def generate(
        self, conversations: list[list[dict[str, str]]], settings: SamplingSettings, seed: int,
        advance: Callable[[int], None],
    ) -> list[Generation]:
        if self.fail_at == len(self.calls):
            raise self.error("killed")
        turns = [conversation[-1]["content"] for conversation in conversations]
        self.calls.append((turns, settings, seed))
        advance(len(turns))
        return [
            Generation(f"<think>{place} of seed {seed}</think>Sure.", "stop", tokens=7, prompt_tokens=3)
            for place, _ in enumerate(turns)
        ]


@pytest.fixture
def scripted_engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    """Put a scripted engine in the place of the real ones."""
    engine = ScriptedEngine()

    def opened(*args: Any) -> ScriptedEngine:
        engine.opened += 1
        return engine

    monkeypatch.setattr("thinksafe.stages.sample.open_engine", opened)
    return engine


@pytest.fixture(scope="session")
def micro_reference() -> ModelReference:
    """Reference of the shipped micro student."""
    from thinksafe.models.loading import resolve_student

    student = StudentSettings(model="micro://default", dtype="float32")
    return ModelReference(role="base", student=student, base_digest=resolve_student(student).digest)


@pytest.fixture
def base_file(tmp_path: Path, micro_reference: ModelReference) -> Path:
    write_json(tmp_path / "base.json", micro_reference)
    return tmp_path / "base.json"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Return a function that runs a ``thinksafe`` command in this process, through the real entry point."""
    from thinksafe.cli.main import main

    def run(*args: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["thinksafe", *map(str, args)])
        code: Any = 0
        capsys.readouterr()
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, to copy: making them takes a while."""
    from thinksafe.registry.mlflow_client import connect

    path = tmp_path_factory.mktemp("mlflow") / "template.db"
    connect(f"sqlite:///{path}")
    return path
