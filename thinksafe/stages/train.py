"""train: examples to an adapter, under a key that holds everything that determines it.

The adapter's files go to ``adapters/<key>/`` in the store, its manifest last. A manifest whose files are intact means
that the training is done: that is how a retry, or a second run on the same examples, takes an adapter up again.
"""

from __future__ import annotations

import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from thinksafe.config.sections import TrainSection
from thinksafe.digests import code_digest, digest_file, digest_folder, digest_json
from thinksafe.errors import DamagedError, InputError, MissingError
from thinksafe.jsonl import read_records, write_json
from thinksafe.loading import ADAPTER_FILES, fetch_adapter
from thinksafe.models import ModelReference, read_reference
from thinksafe.records import Example, Record
from thinksafe.stages.record import StageContext, StageResult, recorded
from thinksafe.store import Store

LIBRARIES = ("torch", "transformers", "peft", "trl")
CODE = ("training", "loading.py", "traces.py", "stages/train.py")


class AdapterManifest(Record):
    """What is in ``adapters/<key>/``, written after the files."""

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
        StageError: see :func:`thinksafe.training.sft.train_adapter` and
            :func:`thinksafe.training.data.encode_examples`.
        StoreError: the store failed.
    """
    with recorded(context, section) as result:
        reference = read_reference(base)
        if reference.absent or reference.adapter:
            raise InputError(f"{base}: not a student without an adapter.", "Train from the base of the run.")
        rows = digest_file(examples)
        prefix = f"adapters/{adapter_key(reference, rows, section)}"
        found = _find(context.store, reference, prefix)
        manifest = found or _train(context, section, reference, examples, prefix)
        candidate = _candidate(reference, prefix, manifest)
        fetch_adapter(context.store, candidate, adapter_out)
        write_json(candidate_out, candidate)
        result.inputs = {"base": reference.digest, "examples": rows}
        result.outputs = {"adapter": manifest.adapter_digest, "candidate": candidate.digest}
        result.counts = {
            "examples": manifest.rows + sum(manifest.dropped.values()), "rows": manifest.rows,
            "tokens": manifest.tokens, "steps": manifest.steps, "reused": int(found is not None),
        }
        result.details = {
            "curve": manifest.curve, "steps": manifest.steps, "adapter": prefix,
            "adapter_digest": manifest.adapter_digest,
            **{f"dropped_{reason}": count for reason, count in manifest.dropped.items()},
        }
    return result


def adapter_key(base: ModelReference, examples: str, section: TrainSection) -> str:
    """Return the digest of everything that determines an adapter.

    The base digest covers weights, revision, tokenizer and chat template. The student's settings are in it because
    the adapter names its base.
    """
    versions = {name: metadata.version(name) for name in LIBRARIES}
    settings: dict[str, Any] = base.student.model_dump(mode="json")
    return digest_json(
        [base.base_digest, settings, examples, section.model_dump(mode="json"), code_digest(*CODE), versions]
    )


def _find(store: Store, base: ModelReference, prefix: str) -> AdapterManifest | None:
    """Return the manifest of a complete and intact adapter, or None when it has to be trained (again)."""
    if not store.exists(f"{prefix}/manifest.json"):
        return None
    try:
        manifest = AdapterManifest.model_validate_json(store.get(f"{prefix}/manifest.json"))
        with tempfile.TemporaryDirectory() as folder:
            fetch_adapter(store, _candidate(base, prefix, manifest), Path(folder))
    except (ValidationError, MissingError, DamagedError):
        return None
    return manifest


def _candidate(base: ModelReference, prefix: str, manifest: AdapterManifest) -> ModelReference:
    return base.model_copy(
        update={"role": "candidate", "adapter": prefix, "adapter_digest": manifest.adapter_digest}
    )


def _train(
    context: StageContext, section: TrainSection, base: ModelReference, examples: Path, prefix: str
) -> AdapterManifest:
    from thinksafe.loading import check_template, end_tokens, load_model, load_tokenizer
    from thinksafe.training.data import encode_examples
    from thinksafe.training.sft import train_adapter

    name = base.student.model
    tokenizer = load_tokenizer(base)
    check_template(tokenizer, section.reasoning, name)
    model = load_model(base, context.store)
    limit = min(
        section.training.max_length,
        getattr(model.config, "max_position_embeddings", None) or section.training.max_length,
    )
    encoded = encode_examples(
        tokenizer, read_records(examples, Example), end_tokens(model, tokenizer, name), limit
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        training = train_adapter(context, model, tokenizer, encoded.rows, section, base.student, folder)
        manifest = AdapterManifest(
            files={file: digest_file(folder / file) for file in ADAPTER_FILES},
            adapter_digest=digest_folder(folder, ADAPTER_FILES),
            steps=training.steps, curve=training.curve, rows=len(encoded.rows), tokens=encoded.tokens,
            dropped={str(reason): count for reason, count in encoded.dropped.items()},
        )
        for file in ADAPTER_FILES:
            context.store.put_file(f"{prefix}/{file}", folder / file)
        context.store.put(f"{prefix}/manifest.json", manifest.model_dump_json(indent=2).encode() + b"\n")
    return manifest
