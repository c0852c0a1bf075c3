"""Runs of the stages sample, judge, curate and train on the micro student, and the comparison of their results."""

from __future__ import annotations

import hashlib
import json
import posixpath
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.processes import COMMAND, Ended, Process, clean_environment
from benchmarks.faults.settings import Settings

PRODUCT = {
    "sample": ("samples.json",), "judge": ("verdicts.json",), "curate": ("examples.jsonl",),
    "train": ("candidate.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
}
"""Files that a stage leaves in the run's folder."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of all runs, made by the stages plan and prepare."""

    folder: Path
    plan_name: str = "plan.json"

    @property
    def plan(self) -> str:
        return str(self.folder / self.plan_name)

    @property
    def base(self) -> str:
        return str(self.folder / "base.json")

    @property
    def champion(self) -> str:
        return str(self.folder / "champion.json")

    def part(self, prompts: int, name: str) -> Path:
        """Return a file with some of the prompts, with both labels, for smaller runs with the same sections."""
        path = self.folder / f"{name}.jsonl"
        lines = sorted(self.prompts.read_text("utf-8").splitlines(), key=lambda line: json.loads(line)["id"])
        path.write_text("\n".join(lines[:: len(lines) // prompts][:prompts]) + "\n", "utf-8")
        return path

    @property
    def prompts(self) -> Path:
        return self.folder / "training.jsonl"

    def shared_by(self, workers: int) -> Inputs:
        """Return the same inputs with a plan by which several workers share the samples."""
        plan = json.loads(Path(self.plan).read_bytes())
        plan["parallelism"]["sample_training"] = workers
        wide = replace(self, plan_name=f"plan-{workers}.json")
        Path(wide.plan).write_text(json.dumps(plan), "utf-8")
        return wide


@dataclass(frozen=True)
class Run:
    """One run: its own folder, its own store root, and the environment that leads to its servers."""

    folder: Path
    root: str
    inputs: Inputs
    prompts: Path
    environment: Mapping[str, str]
    run_id: str = "run"
    train_section: str = "train"

    def command(self, stage: str) -> list[str]:
        """Return the stage and its arguments."""
        files, inputs = self.folder, self.inputs
        own: dict[str, list[str | Path]] = {
            "sample": [
                "--plan", inputs.plan, "--section", "sample_training", "--model", inputs.base,
                "--prompts", self.prompts, "--samples-out", files / "samples.json",
            ],
            "judge": [
                "--plan", inputs.plan, "--section", "judge_filter", "--samples", files / "samples.json",
                "--verdicts-out", files / "verdicts.json",
            ],
            "curate": [
                "--plan", inputs.plan, "--samples", files / "samples.json",
                "--verdicts", files / "verdicts.json", "--examples-out", files / "examples.jsonl",
                "--decision-out", files / "curation.json", "--passed-out", files / "curated",
            ],
            "train": [
                "--plan", inputs.plan, "--section", self.train_section, "--base", inputs.base,
                "--examples", files / "examples.jsonl", "--trained-out", files / "adapter",
                "--candidate-out", files / "candidate.json", "--decision-out", files / "training.json",
                "--passed-out", files / "changed",
            ],
        }
        return [stage, "--artifacts", self.root, "--run-id", self.run_id, *map(str, own[stage])]

    def start(self, stage: str, *, log: Path | None = None) -> Process:
        """Start a stage; with a log, its units of work are written there (``counted``)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        first = [sys.executable, "-m", "benchmarks.faults.counted", str(log)] if log else [COMMAND]
        command = [*first, *self.command(stage)]
        return Process(command, clean_environment(**self.environment), self.folder / f"{stage}.out")

    def do(self, stage: str, *, log: Path | None = None) -> Ended:
        """Run a stage to its end."""
        return self.start(stage, log=log).wait()

    def must(self, *stages: str) -> None:
        """Run stages that must succeed. Raises RuntimeError."""
        for stage in stages:
            succeed(stage, self.do(stage))

    def record(self, stage: str) -> dict[str, Any]:
        """Return the stage's record in the store."""
        from thinksafe.store import open_store

        found: dict[str, Any] = json.loads(open_store(self.root).get(f"runs/{self.run_id}/{stage}.json"))
        return found


def succeed(what: str, ended: Ended) -> Ended:
    """Return the end of a command that succeeded. Raises RuntimeError if it failed."""
    if ended.code:
        raise RuntimeError(f"{what} ended with {ended.code}: {ended.error}")
    return ended


def make_inputs(folder: Path, settings: Settings, environment: Mapping[str, str], root: str) -> Inputs:
    """Run plan and prepare for the recipe micro with the sizes of ``settings``."""
    folder.mkdir(parents=True)
    half = settings.prompts // 2
    overrides = [
        f"data.harmful.0.prompts.count={half}", f"data.benign.0.prompts.count={half}",
        f"sampling.chunk_size={settings.chunk_size}", f"training.epochs={settings.epochs}",
        f"training.checkpoint_steps={settings.checkpoint_steps}", "sampling.parallelism=1",
    ]
    inputs = Inputs(folder)
    common = ["--artifacts", root, "--run-id", "inputs"]
    # plan opens the run in MLflow; nothing that is measured here reads it
    given = clean_environment(**environment, MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}")
    for command in (
        [
            "plan", *common, "--config", "micro", "--overrides", json.dumps(overrides),
            "--plan-out", inputs.plan, "--base-out", inputs.base, "--champion-out", inputs.champion,
        ],
        [
            "prepare", *common, "--plan", inputs.plan, "--pilot-out", str(folder / "pilot.jsonl"),
            "--training-out", str(inputs.prompts), "--evaluation-out", str(folder / "evaluation.jsonl"),
            "--contamination-out", str(folder / "contamination.json"),
        ],
    ):
        succeed(command[0], Process([COMMAND, *command], given, folder / f"{command[0]}.out").wait())
    return inputs


def chunk_key(chunk: Mapping[str, Any]) -> str:
    """Return the store key of the rows of a manifest's chunk."""
    return f"chunks/{chunk['key']}/{chunk['digest']}.jsonl"


@dataclass(frozen=True)
class Content:
    """The rows of one kind that a run left: everything that its manifest names, read back from the store."""

    rows: dict[str, bytes]
    """Lines by row id."""
    doubled: int
    """Lines whose row id occurred before."""
    corrupt: int
    """Chunks named by the manifest that are missing or differ from it."""


def content(root: str, manifest: Path) -> Content:
    """Read the rows of a manifest without the project's own reader."""
    from thinksafe.errors import StoreError
    from thinksafe.store import open_store

    store = open_store(root)
    lines: list[bytes] = []
    corrupt = 0
    for chunk in json.loads(manifest.read_bytes())["chunks"]:
        try:
            data = store.get(chunk_key(chunk))
        except StoreError:
            data = b""
        corrupt += hashlib.sha256(data).hexdigest() != chunk["digest"]
        lines += [line for line in data.split(b"\n") if line]
    ids = Counter(_row_id(json.loads(line)) for line in lines)
    return Content({_row_id(json.loads(line)): line for line in lines}, len(lines) - len(ids), corrupt)


def _row_id(row: dict[str, Any]) -> str:
    return str(row["id"]) if "id" in row else f"{row['sample_id']} {row['part']}"


@dataclass(frozen=True)
class Difference:
    """Differences between a run and the uninterrupted one."""

    lost: int
    doubled: int
    changed: int
    """Rows whose bytes differ, and rows that the other does not have."""
    corrupt: int

    @property
    def none(self) -> bool:
        return not (self.lost or self.doubled or self.changed or self.corrupt)


def compare(run: Run, reference: Run, stage: str) -> Difference:
    """Compare the rows of sample or judge, or the files of train, with the uninterrupted run's."""
    if stage == "train":
        pairs = [(run.folder / name, reference.folder / name) for name in PRODUCT[stage]]
        missing = sum(not mine.is_file() for mine, _ in pairs)
        changed = sum(mine.is_file() and mine.read_bytes() != other.read_bytes() for mine, other in pairs)
        trained = [run.record(stage)["counts"]["rows"], reference.record(stage)["counts"]["rows"]]
        return Difference(missing + max(0, trained[1] - trained[0]), max(0, trained[0] - trained[1]), changed, 0)
    name = PRODUCT[stage][0]
    mine, other = content(run.root, run.folder / name), content(reference.root, reference.folder / name)
    return Difference(
        lost=len(other.rows.keys() - mine.rows.keys()), doubled=mine.doubled, corrupt=mine.corrupt,
        changed=sum(line != other.rows.get(key) for key, line in mine.rows.items()),
    )


def corrupt_objects(root: str) -> list[str]:
    """Return the objects of a store that claim to be complete but are not, whatever the state of the run.

    A chunk's ``done.json`` claims its rows, a manifest of an adapter or checkpoint its files; a stage record and a
    ledger entry claim to be JSON.
    """
    from thinksafe.store import open_store

    store = open_store(root)
    found = []
    for key in store.keys(""):
        try:
            if key.startswith("chunks/") and key.endswith("/done.json"):
                claim = json.loads(store.get(key))
                rows = store.get(chunk_key(claim))
                whole = (hashlib.sha256(rows).hexdigest(), rows.count(b"\n")) == (claim["digest"], claim["rows"])
            elif key.startswith(("adapters/", "checkpoints/")) and key.endswith("/manifest.json"):
                manifest = json.loads(store.get(key))
                folder = posixpath.join(posixpath.dirname(key), manifest.get("adapter_digest", ""))
                files = {posixpath.join(folder, name): digest for name, digest in manifest["files"].items()}
                whole = all(hashlib.sha256(store.get(file)).hexdigest() == digest for file, digest in files.items())
            elif key.startswith(("runs/", "promotions/")):
                whole = isinstance(json.loads(store.get(key)), dict)
            else:
                whole = True
        except Exception:  # unreadable for any reason
            whole = False
        if not whole:
            found.append(key)
    return found
