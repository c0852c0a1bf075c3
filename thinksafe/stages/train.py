"""train: examples to an adapter, under a key that holds everything that determines it.

The adapter's files go to ``adapters/<key>/<digest of the files>/`` in the store, then, by conditional create,
``adapters/<key>/manifest.json``. A manifest whose files are intact means that the training is done: that is how a
retry, or a second run on the same examples, takes an adapter up again; and of two that train at once on machines whose
floating point differs, one wins and the other takes its adapter. A training that was killed goes on from its last
checkpoint (:mod:`thinksafe.training.checkpoints`). On a cluster a TrainJob may train in the stage's place
(:mod:`thinksafe.trainjob`).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TrainSection
from thinksafe.digests import code_digest, digest_file, digest_folder, digest_json, library_versions
from thinksafe.errors import ConfigError, ConflictError, DamagedError, InputError, MissingError
from thinksafe.jsonl import write_json
from thinksafe.loading import ADAPTER_FILES, fetch_adapter
from thinksafe.models import ModelReference, read_reference
from thinksafe.pods import TRAIN_JOB_VARIABLE
from thinksafe.records import Record
from thinksafe.stages.record import StageContext, StageResult, recorded
from thinksafe.store import Store
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.drift import Drift
from thinksafe.training.launch import Job, Outcome, process_count, train, world_size

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "trl")
CODE = ("training", "loading.py", "traces.py", "stages/train.py")


class AdapterManifest(Record):
    """``adapters/<key>/manifest.json``, written after the files."""

    schema_version: Literal[1] = 1
    files: dict[str, str]
    """Digest of each file by name."""
    adapter_digest: str
    """``digest_folder`` over ``ADAPTER_FILES``."""
    steps: int
    curve: list[dict[str, float]]
    """See :class:`thinksafe.training.sft.Training`."""
    rows: int
    """Examples trained on."""
    tokens: int
    """Tokens of one epoch."""
    dropped: dict[str, int]
    """Examples left out, by reason (:data:`thinksafe.training.data.Drop`)."""
    drift: tuple[Drift, ...] = ()
    """See :mod:`thinksafe.training.drift`; empty where the model does not allow to measure it."""
    share: float = 1.0
    """Part of the parameters that one process held while training: 1 where each held the whole student."""


def run(
    context: StageContext, section: TrainSection, base: Path, examples: Path,
    *, adapter_out: Path, candidate_out: Path,
) -> StageResult:
    """Train an adapter, or take up the one that is there, and write it and the candidate's reference.

    Args:
        context: Store, run and task.
        section: Settings and seed.
        base: ModelReference of the student.
        examples: JSON Lines of Example.
        adapter_out: Folder for the adapter's files; created when missing.
        candidate_out: File for the candidate's ModelReference.

    Raises:
        InputError: the base is not a plain student, cannot be loaded or has no fitting chat template.
        ConfigError: see :func:`thinksafe.training.launch.process_count`.
        StageError: see :func:`thinksafe.training.sft.train_adapter` and
            :func:`thinksafe.training.data.encode_examples`.
        StoreError: the store failed.
    """
    with recorded(context, section) as result:
        reference = read_reference(base)
        if reference.absent or reference.adapter:
            raise InputError(f"{base}: not a student without an adapter.", "Train from the base of the run.")
        rows = digest_file(examples)
        cluster = train_job_settings()
        processes = world_size(section.training) if cluster is not None else process_count(section.training)
        key = adapter_key(reference, rows, section, processes)
        manifest = found = _find(context.store, reference, key)
        resumed = 0
        if manifest is None and cluster is not None:
            result.gpus = section.training.nodes * (gpu.count if (gpu := cluster.stage("train").gpu) else 0)
            manifest, resumed = _train_on_nodes(context, cluster, section, reference, examples, key)
        elif manifest is None:
            manifest, resumed = _train(context, section, reference, examples, key, processes)
        candidate = _candidate(reference, key, manifest)
        fetch_adapter(context.store, candidate, adapter_out)
        write_json(candidate_out, candidate)
        result.inputs = {"base": reference.digest, "examples": rows}
        result.outputs = {"adapter": manifest.adapter_digest, "candidate": candidate.digest}
        result.counts = {
            "examples": manifest.rows + sum(manifest.dropped.values()), "rows": manifest.rows,
            "tokens": manifest.tokens, "steps": manifest.steps, "reused": int(found is not None),
            "resumed": resumed,
        }
        result.details = {
            "curve": manifest.curve, "steps": manifest.steps, "adapter": candidate.adapter,
            "adapter_digest": manifest.adapter_digest, "processes": processes, "nodes": section.training.nodes,
            "share": manifest.share,
            "drift": [found.model_dump(mode="json") for found in manifest.drift],
            **{f"dropped_{reason}": count for reason, count in manifest.dropped.items()},
        }
    return result


def adapter_key(base: ModelReference, examples: str, section: TrainSection, processes: int) -> str:
    """Return the digest of everything that determines an adapter.

    The base digest covers weights, revision, tokenizer and chat template. The student's settings are in it because
    the adapter names its base. Checkpoints are not: an interrupted training ends in the same adapter.
    """
    versions = library_versions(*LIBRARIES)
    settings: dict[str, Any] = base.student.model_dump(mode="json")
    parts = section.model_dump(mode="json", exclude={"training"}) | {"training": _deciding(section.training, processes)}
    return digest_json([base.base_digest, settings, examples, parts, code_digest(*CODE), versions])


def train_job_settings() -> ClusterSettings | None:
    """Return the settings of the TrainJob that this stage is to start; None where it trains itself.

    Raises:
        ConfigError: the environment holds none that are valid.
    """
    text = os.environ.get(TRAIN_JOB_VARIABLE, "")
    try:
        return ClusterSettings.model_validate_json(text) if text else None
    except ValidationError as error:
        raise ConfigError(
            f"{TRAIN_JOB_VARIABLE} is no section cluster of this version.", "Run `thinksafe publish`, and submit that."
        ) from error


def _deciding(settings: TrainingSettings, processes: int) -> dict[str, Any]:
    """Return the settings that an adapter depends on, with the number of processes that there are on all nodes."""
    chunked = settings.benign_loss == "kl" or settings.strategy == "fsdp"
    unused = {"checkpoint_steps", "nodes"} | (set() if chunked else {"kl_chunk"})
    return settings.model_dump(mode="json", exclude=unused) | {"processes": processes}


def _manifest_key(key: str) -> str:
    return f"adapters/{key}/manifest.json"


def _find(store: Store, base: ModelReference, key: str) -> AdapterManifest | None:
    """Return the manifest of a complete and intact adapter, or None when it has to be trained (again)."""
    if not store.exists(_manifest_key(key)):
        return None
    try:
        manifest = AdapterManifest.model_validate_json(store.get(_manifest_key(key)))
        with tempfile.TemporaryDirectory() as folder:
            fetch_adapter(store, _candidate(base, key, manifest), Path(folder))
    except (ValidationError, MissingError, DamagedError):
        return None
    return manifest


def _candidate(base: ModelReference, key: str, manifest: AdapterManifest) -> ModelReference:
    digest = manifest.adapter_digest
    return base.model_copy(
        update={"role": "candidate", "adapter": f"adapters/{key}/{digest}", "adapter_digest": digest}
    )


def _train(
    context: StageContext, section: TrainSection, base: ModelReference, examples: Path, key: str, processes: int
) -> tuple[AdapterManifest, int]:
    """Train, write the adapter into the store, and return its manifest and the step that the training went on from."""
    with tempfile.TemporaryDirectory() as temporary:
        job = Job(
            section=section, base=base, examples=examples.absolute(), key=key, folder=Path(temporary),
            store=context.store.root, run_id=context.run_id, task=context.task,
        )
        checkpoints = Checkpoints(context.store, key, job.checkpoints)
        if section.training.checkpoint_steps:
            job = job.model_copy(update={"resume": checkpoints.restore()})
        done = train(context, job, processes)
        manifest = settle(context.store, base, key, job.folder, done)
    return manifest, job.resume


def _train_on_nodes(
    context: StageContext, cluster: ClusterSettings, section: TrainSection, base: ModelReference, examples: Path,
    key: str,
) -> tuple[AdapterManifest, int]:
    """Train in a TrainJob, whose first node settles the adapter; return as :func:`_train` does."""
    from thinksafe.deploy.cluster import connect_to
    from thinksafe.training.node import NodeJob
    from thinksafe.trainjob import launcher

    job = NodeJob(
        section=section, base=base, examples_digest=digest_file(examples), key=key, run_id=context.run_id,
        task=context.task,
    )
    api = connect_to(cluster.namespace, section="cluster", retry_seconds=launcher.RETRY_SECONDS)

    def done() -> bool:
        return _find(context.store, base, key) is not None

    resumed = launcher.Launcher(context.store, cluster, api, job, examples, done).run()
    manifest = _find(context.store, base, key)
    if manifest is None:
        raise DamagedError(f"The adapter {key} is gone from the store again.", "Start the same stage again.")
    return manifest, resumed


def settle(store: Store, base: ModelReference, key: str, folder: Path, done: Outcome) -> AdapterManifest:
    """Write a trained adapter into the store, delete its checkpoints, and return the manifest that counts.

    Args:
        store: The run's store.
        base: The student.
        key: Key of the adapter.
        folder: Holds the adapter's files.
        done: What the training did.
    """
    manifest = AdapterManifest(
        files={file: digest_file(folder / file) for file in ADAPTER_FILES},
        adapter_digest=digest_folder(folder, ADAPTER_FILES),
        steps=done.steps, curve=done.curve, rows=done.rows, tokens=done.tokens, dropped=done.dropped, drift=done.drift,
        share=done.share,
    )
    prefix = _candidate(base, key, manifest).adapter
    for file in ADAPTER_FILES:
        store.put_file(f"{prefix}/{file}", folder / file)
    manifest = _settle(store, base, key, manifest)
    Checkpoints(store, key, folder).clear()
    return manifest


def _settle(store: Store, base: ModelReference, key: str, manifest: AdapterManifest) -> AdapterManifest:
    """Name the adapter in the store; return the manifest that counts: that of another trainer who was first, if any."""
    document = manifest.model_dump_json(indent=2).encode() + b"\n"
    try:
        store.create(_manifest_key(key), document)
    except ConflictError:
        if winner := _find(store, base, key):
            return winner
        store.put(_manifest_key(key), document)  # what is there is damaged, or its files are
    return manifest
