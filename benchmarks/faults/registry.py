"""Candidates, the commands register and promote, and the state of the ledger and MLflow afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.processes import COMMAND, Ended, Process, clean_environment
from benchmarks.faults.runs import Run
from benchmarks.faults.servers import Bucket, Mlflow

CANDIDATES = 8


@dataclass(frozen=True)
class State:
    """The state of a model in the ledger and in MLflow."""

    champion: str
    """Version that the alias ``champion`` points to; empty for none."""
    candidate: str
    versions: int
    """Registered versions."""
    ledger: list[dict[str, Any]]
    """Entries, oldest first."""

    @property
    def unbacked(self) -> bool:
        """Whether the alias points to a version that the ledger never made champion."""
        return bool(self.champion) and self.champion not in {entry["version"] for entry in self.ledger}

    @property
    def settled(self) -> bool:
        """Whether the alias points to the newest generation."""
        return bool(self.ledger) and self.champion == self.ledger[-1]["version"]


@dataclass(frozen=True)
class Registry:
    """An MLflow server, a store, and candidates to register and promote."""

    folder: Path
    bucket: Bucket
    run: Run
    """The run whose adapter the candidates are made from."""
    mlflow: Mlflow
    root: str

    def ensure_up(self) -> None:
        """Start MLflow if it is down."""
        if not self.mlflow.running:
            self.mlflow.start()

    def moved(self, bucket: Bucket, folder: Path) -> Registry:
        """Return the same registry with its artifacts in another bucket."""
        moved = replace(self, bucket=bucket, folder=folder, root=bucket.root("registry"))
        bucket.use()
        moved.make_candidates(self.folder)
        return moved

    def make_candidates(self, made: Path | None = None) -> None:
        """Put candidates into the store: the trained adapter, its weights scaled a little for each.

        Args:
            made: Folder of a registry whose candidates are copied; by default they are made.
        """
        from thinksafe.digests import digest_folder
        from thinksafe.models.trained import ADAPTER_FILES
        from thinksafe.store import open_store

        store = open_store(self.root)
        for number in range(CANDIDATES):
            folder = self.candidate(number)
            if made is None:
                folder.mkdir(parents=True)
                _scale(self.run.folder / "adapter", folder, 1 + number / 1000)
                reference = json.loads((self.run.folder / "candidate.json").read_bytes())
                reference |= {
                    "adapter": f"adapters/candidate-{number}", "adapter_digest": digest_folder(folder, ADAPTER_FILES)
                }
                (folder / "candidate.json").write_text(json.dumps(reference), "utf-8")
            else:
                shutil.copytree(made / folder.relative_to(self.folder), folder)
            for name in ADAPTER_FILES:
                store.put_file(f"adapters/candidate-{number}/{name}", folder / name)
        _write_decision(self.folder / "decision.json")

    def candidate(self, number: int) -> Path:
        """Return the folder of a candidate."""
        return self.folder / "candidates" / str(number)

    def start(
        self, stage: str, model: str, candidate: int, run_id: str, *, champion: str = "", registration: str = "",
        **environment: str,
    ) -> Process:
        """Start register or promote for a model.

        Args:
            stage: ``register`` or ``promote``.
            model: Registered model; each scenario has its own.
            candidate: Which candidate.
            run_id: Run that registers or promotes it.
            champion: File of the champion's reference; the absent one by default.
            registration: Run whose registration is promoted; ``run_id`` by default.
            environment: Changes to the environment.
        """
        folder, given = self.folder / model / run_id, self.candidate(candidate)
        folder.mkdir(parents=True, exist_ok=True)
        plan = json.loads(Path(self.run.inputs.plan).read_text("utf-8"))
        for name in ("registry", "promote"):
            plan["sections"][name]["registry"] |= {"model": model, "tracking_uri": ""}
        (folder / "plan.json").write_text(json.dumps(plan), "utf-8")
        registered = self.folder / model / (registration or run_id) / "registration.json"
        arguments: dict[str, list[str | Path]] = {
            "register": ["--examples", self.run.folder / "examples.jsonl", "--registration-out", registered],
            "promote": [
                "--decision", self.folder / "decision.json", "--registration", registered,
                "--champion", champion or self.run.inputs.champion, "--promotion-out", folder / "promotion.json",
                "--passed-out", folder / "rolls-out",
            ],
        }
        command = [
            COMMAND, stage, "--artifacts", self.root, "--run-id", run_id, "--plan", str(folder / "plan.json"),
            "--candidate", str(given / "candidate.json"), *map(str, arguments[stage]),
        ]
        variables = {**self.bucket.environment, "MLFLOW_TRACKING_URI": self.mlflow.uri, **environment}
        return Process(command, clean_environment(**variables), folder / f"{stage}.out")

    def do(self, stage: str, model: str, candidate: int, run_id: str, **given: str) -> Ended:
        """Run register or promote to its end; see :meth:`start`."""
        return self.start(stage, model, candidate, run_id, **given).wait()

    def state(self, model: str) -> State:
        """Return the state of a model in the ledger and in a running MLflow."""
        from mlflow.exceptions import MlflowException

        from thinksafe.registry.mlflow_client import connect
        from thinksafe.store import open_store

        client = connect(self.mlflow.uri)
        try:
            aliases = client.get_registered_model(model).aliases
            versions = len(client.search_model_versions(f"name = '{model}'"))
        except MlflowException:  # not there yet
            aliases, versions = {}, 0
        store = open_store(self.root)
        entries = [json.loads(store.get(key)) for key in store.keys(f"promotions/{model}/")]
        return State(str(aliases.get("champion", "")), str(aliases.get("candidate", "")), versions, entries)


@contextmanager
def started(folder: Path, bucket: Bucket, run: Run, port: int) -> Iterator[Registry]:
    """Yield a registry whose MLflow server is not up yet."""
    registry = Registry(folder, bucket, run, Mlflow(folder / "mlflow", port), bucket.root("registry"))
    registry.make_candidates()
    try:
        yield registry
    finally:
        registry.mlflow.kill()


def _scale(source: Path, target: Path, factor: float) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copy(source / "adapter_config.json", target)
    weights = load_file(source / "adapter_model.safetensors")
    scaled = {name: weight * factor for name, weight in weights.items()}
    save_file(scaled, target / "adapter_model.safetensors", metadata={"format": "pt"})


def _write_decision(path: Path) -> None:
    """Write the decision of a gate that passed; the gate itself is not tested here."""
    from thinksafe.records import Check, Decision

    checks = (Check(name="harm", passed=True, value=0.0, n=1, reason="written for the fault tests"),)
    decision = Decision(passed=True, stopped_by=None, summary="written for the fault tests", checks=checks)
    path.write_text(decision.model_dump_json(), "utf-8")
