"""Whole runs of the shipped micro recipes, through the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("thinksafe"))


@dataclass(frozen=True)
class Run:
    """A finished command and the folder it wrote."""

    folder: Path
    code: int
    text: str

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text("utf-8"))

    @property
    def records(self) -> dict[str, Any]:
        return {path.stem: json.loads(path.read_text("utf-8")) for path in self.folder.glob("store/runs/*/*.json")}

    @property
    def ledger(self) -> list[Any]:
        return [json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob("store/promotions/*/*.json"))]

    def metric(self, role: str, name: str) -> float:
        values = {metric["name"]: metric["value"] for metric in self.read("metrics.json")[role]["metrics"]}
        return float(values[name])


def thinksafe(*arguments: str, cwd: Path | None = None, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run the installed command without a terminal and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "THINKSAFE_"))}
    return subprocess.run(
        [COMMAND, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def execute(folder: Path, recipe: str, *options: str) -> Run:
    """Run a recipe into a folder."""
    done = thinksafe("run", recipe, "--out", str(folder), *options)
    return Run(folder, done.returncode, done.stdout + done.stderr)
