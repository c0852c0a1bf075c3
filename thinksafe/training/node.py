"""One node of a multi-node training: ``python -m thinksafe.training.node ADDRESS``, run by the pods of a TrainJob.

Nodes share no disk. Their input is in the store, below ``train-jobs/<key>/``: ``job.json``, whose address is
the argument, and ``examples.jsonl``. Kubeflow Trainer's torch policy sets environment variables that identify the node
(``PET_NODE_RANK`` and others). The first node writes the result as the train stage does, and then ``outcome.json``; a
failing node writes ``error-<rank>.json``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from thinksafe import errors
from thinksafe.config.sections import TrainSection
from thinksafe.config.shape import shape_of
from thinksafe.digests import digest_file
from thinksafe.errors import ConfigError, InputError, ThinkSafeError, known_error
from thinksafe.jsonl import read_record
from thinksafe.models.references import ModelReference
from thinksafe.records import Record
from thinksafe.run.told import ToldError
from thinksafe.store import Store, open_store
from thinksafe.training.launch import Job, Node, Outcome, spawn
from thinksafe.training.trained_store import settle

JOB, EXAMPLES, OUTCOME = "job.json", "examples.jsonl", "outcome.json"


class NodeJob(Record):
    """The description of a training for its nodes."""

    schema_version: Literal[1] = 1
    section: TrainSection
    base: ModelReference
    examples_digest: str
    key: str
    """Key of what is trained."""
    run_id: str
    task: str


def folder_of(key: str) -> str:
    """Return the store key of the folder of a multi-node training."""
    return f"train-jobs/{key}"


def write_job(store: Store, job: NodeJob, examples: Path) -> str:
    """Write the input of the nodes into the store, and return its address."""
    folder = folder_of(job.key)
    store.put_file(f"{folder}/{EXAMPLES}", examples)
    store.put(f"{folder}/{JOB}", job.model_dump_json(indent=2).encode() + b"\n")
    return store.uri(f"{folder}/{JOB}")


def node_of(environment: Mapping[str, str]) -> tuple[Node, int]:
    """Return which node this is and how many processes it has, from the variables of Trainer's torch policy.

    Raises:
        ConfigError: a variable is missing or malformed.
    """
    try:
        count, rank = int(environment["PET_NNODES"]), int(environment["PET_NODE_RANK"])
        processes, port = int(environment["PET_NPROC_PER_NODE"]), int(environment["PET_MASTER_PORT"])
        address = environment["PET_MASTER_ADDR"]
        if not (0 <= rank < count and processes > 0 and 0 < port < 65536 and address):
            raise ValueError
    except (KeyError, ValueError) as error:
        raise ConfigError(
            "The environment does not say which node this is (PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, "
            "PET_MASTER_ADDR, PET_MASTER_PORT).",
            "Use a training runtime with Kubeflow Trainer's torch policy (cluster.train_job.runtime).",
        ) from error
    return Node(rank, count, address, port), processes


def open_folder(address: str) -> tuple[Store, str]:
    """Return the store and the key of the folder in it, from the address of ``job.json``. Raises ConfigError."""
    root, found, rest = address.rpartition("/train-jobs/")
    key, _, name = rest.partition("/")
    if not root or not found or not key or name != JOB:
        raise ConfigError(f"{address[:200]!r} is not the address of a training.", "The train stage makes it.")
    return open_store(root), folder_of(key)


def run(store: Store, folder: str, node: Node, processes: int) -> None:
    """Run one node of a training.

    Args:
        store: The run's store.
        folder: Key of the training's folder in it.
        node: Which node this is.
        processes: How many processes it has.

    Raises:
        ThinkSafeError: as :func:`thinksafe.training.launch.train`; or the job is invalid, or for other nodes.
    """
    try:
        given = NodeJob.model_validate_json(store.get(f"{folder}/{JOB}"))
    except ValidationError as error:
        raise InputError(f"{store.uri(f'{folder}/{JOB}')} is not a training.", "Start the stage again.") from error
    settings = given.section.training
    shape = shape_of(settings)
    if node.nodes * processes != shape.world:
        raise ConfigError(
            f"There are {node.nodes} nodes of {processes} processes, but the training needs {shape.nodes} of "
            f"{shape.processes}.",
            "Do not change numNodes and numProcPerNode of the TrainJob.",
        )
    with tempfile.TemporaryDirectory() as temporary:
        examples, place = Path(temporary) / EXAMPLES, Path(temporary) / "training"
        place.mkdir()
        store.get_file(f"{folder}/{EXAMPLES}", examples)
        if digest_file(examples) != given.examples_digest:
            raise InputError("The examples in the store are not those of this training.", "Start the stage again.")
        job = Job(
            section=given.section, base=given.base, examples=examples, key=given.key, folder=place, store=store.root,
            run_id=given.run_id, task=given.task,
        )
        try:
            spawn(job, processes, node)
        except ThinkSafeError as error:
            _tell(store, folder, node, error, final=any(place.glob("error-*.json")))
            raise
        if node.rank == 0:
            done = read_record(place / "outcome.json", Outcome)
            settle(store, given.key, settings.parameters, job.made, done)
            store.put_file(f"{folder}/{OUTCOME}", place / "outcome.json")


def main(arguments: list[str]) -> int:
    """Run a node and return the exit code (see :mod:`thinksafe.errors`)."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m thinksafe.training.node ADDRESS\n")
        return errors.EXIT_BAD_INPUT
    try:
        node, processes = node_of(os.environ)
        store, folder = open_folder(arguments[0])
        store.delete(_error_key(folder, node))  # from an earlier attempt
        try:
            run(store, folder, node, processes)
        except ThinkSafeError as error:
            if not store.exists(_error_key(folder, node)):
                _tell(store, folder, node, error, final=True)
            raise
    except ThinkSafeError as error:
        return _complain(error)
    except Exception as error:
        return _complain(known_error(error))
    return errors.EXIT_OK


def _error_key(folder: str, node: Node) -> str:
    return f"{folder}/error-{node.rank}.json"


def _tell(store: Store, folder: str, node: Node, error: ThinkSafeError, *, final: bool) -> None:
    store.put(_error_key(folder, node), ToldError.of(error, final=final).model_dump_json().encode())


def _complain(error: ThinkSafeError) -> int:
    sys.stderr.write(f"error: {error.problem}\n  {error.action}\n")
    return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
