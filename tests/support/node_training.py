"""A training on several nodes of this machine, which share nothing but the store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from plans import write_plan

from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TrainSection
from thinksafe.digests import digest_file
from thinksafe.jsonl import write_json, write_records
from thinksafe.methods.objectives import Sft
from thinksafe.models.loading import resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.records import Example, Label
from thinksafe.settings import StudentSettings
from thinksafe.stages.train import trained_key
from thinksafe.store import open_store
from thinksafe.training.node import NodeJob, write_job

LABELS: tuple[Label, ...] = ("harmful", "benign")
EXAMPLES = [
    Example(
        id=f"prompt-{index}", prompt=f"request number {index}", label=LABELS[index % 2],
        response=f"<think>\nThought {index}.\n</think>\n\nI say {index}." + " Again." * index,
    )
    for index in range(5)
]


def section(**changes: Any) -> TrainSection:
    settings: dict[str, Any] = {
        "lora_rank": 4, "lora_dropout": 0.1, "learning_rate": 1e-2, "batch_size": 4, "micro_batch_size": 4, "epochs": 2,
        "threads": 1, "max_length": 400, "processes": 1,
    }
    return TrainSection(seed=3, reasoning="think", objective=Sft(), training=TrainingSettings(**settings | changes))


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def node_environment(rank: int, count: int, processes: int, port: int) -> dict[str, str]:
    """Return what Kubeflow Trainer's torch policy sets in a pod, for nodes that are all on this machine."""
    return {
        **os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo",
        "PET_NNODES": str(count), "PET_NODE_RANK": str(rank), "PET_NPROC_PER_NODE": str(processes),
        "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port),
    }


def start_node(address: str, rank: int, count: int, processes: int, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "thinksafe.training.node", address],
        env=node_environment(rank, count, processes, port), stderr=subprocess.PIPE, text=True,
    )


class World:
    """A student, examples and a store, local by default; trainings of several nodes, and of one."""

    def __init__(self, folder: Path, student: Path, root: str = "") -> None:
        self.folder, self.store = folder, open_store(root or str(folder / "store"))
        settings = StudentSettings(model=str(student), dtype="float32")
        self.base = ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)
        self.examples = folder / "examples.jsonl"
        write_json(folder / "base.json", self.base)
        write_records(self.examples, EXAMPLES)

    def job(self, given: TrainSection, key: str = "") -> NodeJob:
        rows, training = digest_file(self.examples), given.training
        key = key or trained_key(self.base, rows, given, training.nodes * training.processes)
        return NodeJob(section=given, base=self.base, examples_digest=rows, key=key, run_id="run", task="train")

    def nodes(self, given: TrainSection, key: str = "") -> list[subprocess.Popen[str]]:
        """Start all nodes of a training."""
        address = write_job(self.store, self.job(given, key), self.examples)
        port, training = free_port(), given.training
        return [
            start_node(address, rank, training.nodes, training.processes, port) for rank in range(training.nodes)
        ]

    def one_node(self, given: TrainSection) -> subprocess.CompletedProcess[str]:
        """Train as the stage does in one pod, with the same store."""
        out = self.folder / "one"
        paths = {
            "base": self.folder / "base.json", "examples": self.examples, "artifacts": self.store.root,
            "trained-out": out / "adapter", "candidate-out": out / "candidate.json",
            "decision-out": out / "decision.json", "passed-out": out / "passed",
        }
        return subprocess.run(
            [
                sys.executable, "-m", "thinksafe", "train", "--run-id", "run", "--plan",
                str(write_plan(out / "plan.json", train=given)),
                *(part for option, path in paths.items() for part in (f"--{option}", str(path))),
            ],
            stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )

    def adapter(self, key: str) -> list[bytes]:
        """Return the files of a finished adapter."""
        files = self.store.keys(f"adapters/{key}/")
        assert f"adapters/{key}/manifest.json" in files
        return [self.store.get(file) for name in ADAPTER_FILES for file in files if file.endswith(name)]


def ended(nodes: list[subprocess.Popen[str]], seconds: float = 240) -> list[tuple[int, str]]:
    """Return exit code and standard error of each node."""
    try:
        return [(node.returncode, said) for node in nodes for _, said in [node.communicate(timeout=seconds)]]
    finally:
        for node in nodes:
            node.kill()
