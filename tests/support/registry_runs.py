"""Runs that reached registration and promotion, without training: their files, and the stages that reach MLflow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from thinksafe.config.model import RegistrySettings
from thinksafe.config.sections import PromoteSection, RegisterSection
from thinksafe.config.sign import SignSettings
from thinksafe.digests import digest_folder
from thinksafe.errors import StageError
from thinksafe.jsonl import read_record, write_json
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.records import Check, Decision
from thinksafe.registry import ledger
from thinksafe.registry.decision_tags import tag_decision
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.registry.mlflow_client import connect
from thinksafe.registry.registration import Registration, champion_version, register_candidate
from thinksafe.registry.rollback import rollback, withdraw
from thinksafe.run.record import StageContext, StageResult, silent
from thinksafe.settings import StudentSettings
from thinksafe.stages import plan, promote, register, report
from thinksafe.store import Store, open_store
from thinksafe.training.trained_store import TrainedManifest

STUDENT = StudentSettings(model="micro://default", dtype="float32")
EXAMPLES = b'{"id": "x"}\n'
PASSED = Decision(
    passed=True, stopped_by=None, summary="All checks passed.",
    checks=(Check(name="harm", passed=True, value=0.0, threshold=0.1, n=300, reason="ok"),),
)
REFUSED = Decision(
    passed=False, stopped_by="gate", summary="Refused.",
    checks=(Check(name="harm", passed=False, value=0.5, threshold=0.1, n=300, reason="too harmful"),),
)


def add_adapter(store: Store, name: str, size: int = 0) -> ModelReference:
    """Put an adapter into a store as training does and return its reference."""
    files = {
        "adapter_config.json": json.dumps({"base_model_name_or_path": STUDENT.model, "r": 12}).encode(),
        "adapter_model.safetensors": name.encode().ljust(size, b"."),
    }
    with tempfile.TemporaryDirectory() as folder:
        for file, data in files.items():
            (Path(folder) / file).write_bytes(data)
            store.put(f"adapters/{name}/{file}", data)
        digest = digest_folder(Path(folder), ADAPTER_FILES)
    return ModelReference(
        role="candidate", student=STUDENT, base_digest="base", adapter=f"adapters/{name}", adapter_digest=digest
    )


def add_weights(store: Store, name: str) -> ModelReference:
    """Put all weights into a store as training does and return their reference."""
    files = {"config.json": b"{}", "model.safetensors": name.encode()}
    with tempfile.TemporaryDirectory() as folder:
        for file, data in files.items():
            (Path(folder) / file).write_bytes(data)
            store.put(f"weights/{name}/made/{file}", data)
        digest = digest_folder(Path(folder))
    manifest = TrainedManifest(
        files={}, weights_digest=digest, size=2, steps=1, curve=[], rows=1, tokens=1, dropped={}
    )
    store.put(f"weights/{name}/manifest.json", manifest.model_dump_json().encode())
    return ModelReference(
        role="candidate", student=STUDENT, base_digest="base", weights=f"weights/{name}/made", weights_digest=digest
    )


class Run:
    """One run's files and stages.

    Args:
        world: Where it runs.
        run_id: Its name.
        adapter: Name of its adapter; the run's by default.
        decision: What its gate said.
        full: It trained all weights instead.
    """

    def __init__(
        self, world: World, run_id: str, adapter: str = "", decision: Decision = PASSED, *, full: bool = False
    ) -> None:
        self.world, self.run_id, self.settings = world, run_id, world.settings
        self.folder = world.folder / run_id
        self.folder.mkdir(exist_ok=True)
        self.out = self.folder / "promotion.json"
        self.candidate = (add_weights if full else add_adapter)(world.store, adapter or run_id)
        self.write("candidate", self.candidate)
        self.write("decision", decision)
        (self.folder / "examples.jsonl").write_bytes(EXAMPLES)
        self.compare()

    def write(self, name: str, value: Any) -> Path:
        path = self.folder / f"{name}.json"
        write_json(path, value)
        return path

    def context(self, stage: str) -> StageContext:
        return StageContext(self.world.store, self.run_id, stage, stage, silent)

    def compare(self) -> None:
        """Fix the champion that the run is compared with, as planning does."""
        world = self.world
        self.write("champion", ledger.champion_reference(world.store, world.model, STUDENT, run_id=self.run_id))

    def plan(self) -> StageResult:
        uri = json.dumps(self.settings.tracking_uri)
        overrides = [f"registry.tracking_uri={uri}", f"registry.model={self.world.model}"]
        return plan.run(
            self.context("plan"), "micro", overrides, plan_out=self.folder / "plan.json",
            base_out=self.folder / "base.json", champion_out=self.folder / "planned.json",
        )

    def register(self) -> StageResult:
        return register.run(
            self.context("register"), RegisterSection(registry=self.settings, sign=self.world.sign),
            self.folder / "candidate.json", self.folder / "examples.jsonl",
            registration_out=self.folder / "registration.json",
        )

    def register_by_hand(self, version: str = "1") -> Registration:
        """Write a registration of which MLflow knows nothing."""
        registration = Registration(
            name=self.world.model, version=version, run_id=self.run_id, candidate=self.candidate.digest,
            adapter_digest=self.candidate.adapter_digest, weights_digest=self.candidate.weights_digest,
            data_digest="data", config_digest="config", model_id="m-1",
            mlflow_run="r-1", tracking_uri=self.settings.tracking_uri,
        )
        self.write("registration", registration)
        return registration

    @property
    def registered(self) -> str:
        """Its version."""
        return read_record(self.folder / "registration.json", Registration).version

    def tag(self) -> None:
        registration = read_record(self.folder / "registration.json", Registration)
        tag_decision(registration, read_record(self.folder / "decision.json", Decision))

    def promote(self, **changed: Any) -> StageResult:
        inputs = {name: self.folder / f"{name}.json" for name in ("decision", "registration", "candidate", "champion")}
        return promote.run(
            self.context("promote"), PromoteSection(registry=self.settings, rollout=False, sign=self.world.sign),
            **{**inputs, **changed}, promotion_out=self.out, passed_out=self.folder / "rolled-out",
        )

    def report(self) -> StageResult:
        return report.run(self.context("report"), report_out=self.folder / "report.html")

    def entry(self, generation: int, version: str) -> LedgerEntry:
        return LedgerEntry(
            model=self.world.model, generation=generation, previous=generation - 1 or None, action="promote",
            target=self.candidate.model_copy(update={"role": "champion"}), version=version, run_id=self.run_id,
            digests=Digests(
                adapter=self.candidate.adapter_digest, weights=self.candidate.weights_digest, base="base"
            ),
            reason="passed", who="ann", created=ledger.now(),
        )


class World:
    """A store, an MLflow, and runs.

    Args:
        folder: Local files.
        uri: MLflow; a SQLite file in ``folder`` by default.
        root: Store root; in ``folder`` by default.
        model: Registered model.
    """

    sign: SignSettings | None = None
    """Who signs what its runs register and promote."""

    def __init__(self, folder: Path, uri: str = "", root: str = "", model: str = "m") -> None:
        self.folder, self.model = folder, model
        folder.mkdir(exist_ok=True)
        self.store = open_store(root or str(folder / "store"))
        self.settings = RegistrySettings(model=model, tracking_uri=uri or f"sqlite:///{folder / 'mlflow.db'}")

    def run(self, run_id: str, adapter: str = "", decision: Decision = PASSED, *, full: bool = False) -> Run:
        """Return a run that was registered."""
        run = Run(self, run_id, adapter, decision, full=full)
        registration = register_candidate(
            self.store, run.candidate, self.settings, run_id=run_id, data_digest="data", config_digest="config"
        )
        run.write("registration", registration)
        return run

    @property
    def alias(self) -> str:
        return champion_version(connect(self.settings.tracking_uri), self.settings.tracking_uri, self.model)

    @property
    def history(self) -> list[tuple[str, str, str]]:
        return [(entry.action, entry.run_id, entry.version) for entry in ledger.entries(self.store, self.model)]

    def roll_back(self, to: int | None = None, of: int | None = None) -> LedgerEntry:
        return rollback(
            self.store, self.model, to=to, reason="it got worse", who="ann", tracking_uri=self.settings.tracking_uri,
            of=of,
        )

    def withdraw(self, of: int | None = None) -> LedgerEntry:
        return withdraw(
            self.store, self.model, reason="it is harmful", who="ann", tracking_uri=self.settings.tracking_uri, of=of
        )


def promote_when_told(folder: Path, uri: str, root: str, model: str, run_id: str, told: Connection) -> None:
    """Decide, and promote, one registered run each time that a message comes; the answer is how it ended.

    For a process of its own. An empty message ends it.
    """
    run = Run(World(folder, uri, root, model), run_id)
    connect(uri)  # the first import of MLflow takes seconds
    told.send("ready")
    while told.recv():
        run.compare()
        told.send("decided")
        told.recv()
        try:
            run.promote()
        except StageError as error:
            told.send(str(error))
        else:
            told.send("promoted")


def failing(call: Callable[[], Any]) -> StageError | None:
    """Return the StageError of a call, or None when it did not fail."""
    try:
        call()
    except StageError as error:
        return error
    return None
