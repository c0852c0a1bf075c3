"""A registered model as a folder that others can load: its files, tokenizer, model card and bill of materials.

Everything in the folder was checked against a digest that the ledger or a record names, and the folder appears whole or
not at all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from thinksafe.deploy.target import release
from thinksafe.digests import digest_bytes
from thinksafe.errors import ConfigError, DamagedError, MissingError, StageError, StoreError
from thinksafe.files import TEMPORARY
from thinksafe.models.loading import TOKENIZER_FILES, load_model, local_source, resolve_student
from thinksafe.models.references import ModelReference, Trained
from thinksafe.models.shapes import BYTES, Shapes
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.registry.registration import trained_of
from thinksafe.registry.signed import Seal
from thinksafe.registry.versions import Release
from thinksafe.run.record import find_evidence
from thinksafe.settings import StudentSettings
from thinksafe.signing.trained import subject
from thinksafe.store import Store

CARD, MATERIALS = "README.md", "bom.cdx.json"
_TOKENIZER = (
    *sorted(TOKENIZER_FILES), "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
    "chat_template.jinja", "chat_template.json", "*.tiktoken", "additional_chat_templates/*.jinja",
)
"""Names of the files that a tokenizer is loaded from."""
_WEIGHTS = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
"""Names of the files of a folder with all weights; it has code (``*.py``) only if the student's is trusted."""
MERGED = """
## This folder

The adapter is merged into the base here, so the commands above for an adapter do not apply to it: load it with
`AutoModelForCausalLM.from_pretrained("path/of/this/folder")`, or serve it with `vllm serve path/of/this/folder`.
The bill of materials (`bom.cdx.json`) names the base and the adapter by digest.
"""


def export(
    store: Store, found: Release, out: Path, *, merge: bool, tell: Callable[[str], None], seal: Seal | None = None
) -> Path:
    """Write a release into a new folder and return it.

    Args:
        store: Holds what was trained, and the report of the run that made it.
        found: The release.
        out: Folder to write; it must not exist, or be empty.
        merge: Write the student's weights with the adapter merged into them.
        tell: Is told what takes long or much memory, before.
        seal: Whose signatures count; None where nothing is signed.

    Raises:
        SignatureError: the ledger or the files are not signed by a trusted signer, or differ from what was signed.
        ConfigError: the folder is not empty, or there is nothing to merge.
        InputError: the student cannot be found.
        StageError: the student has changed since the run.
        StoreError: a file is missing, changed, or has a name that no such file has.
    """
    target = _place(out)
    reference = found.reference
    trained = trained_of(reference)
    if seal is not None and found.was_champion:
        seal.entries()
    signed_as, trust = (subject(seal.model, found.version), seal.trust) if seal is not None else ("", None)
    if merge and trained.parameters == "full":
        raise ConfigError("This version holds all weights, so there is nothing to merge.", "Leave --merge out.")
    _require_known_names(store, trained, reference.student)
    documents = {name: _published(store, found.run_id, name) for name in (CARD, MATERIALS)}
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=target.parent))
        partial.chmod(0o755)
        if merge:
            with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as adapter:
                release(store, trained, Path(adapter), signed_as, trust)
                _merge(store, reference, Path(adapter), partial, tell)
            documents[CARD] = _of_merged(documents[CARD])
        else:
            release(store, trained, partial, signed_as, trust)
        if trained.parameters == "lora":
            _copy_tokenizer(reference, partial)
        for name, data in documents.items():
            (partial / name).write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise StoreError(f"Could not write {out}: {error.strerror or error}.", "Name another --out.") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _place(out: Path) -> Path:
    """Return the folder to write, whose last name does not exist or is an empty folder. Raises ConfigError."""
    target = out.expanduser().resolve()
    if target.is_dir() and any(target.iterdir()):
        raise ConfigError(f"The folder {out} is not empty.", "Name a new folder as --out.")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{out} is a file.", "Name a new folder as --out.")
    return target


def _require_known_names(store: Store, trained: Trained, student: StudentSettings) -> None:
    """Refuse files that a loader might run or that would take the place of others. Raises StoreError."""
    prefix = f"{trained.place}/"
    names = [key.removeprefix(prefix) for key in store.keys(prefix)]
    if trained.parameters == "lora":
        known: tuple[str, ...] = ADAPTER_FILES
    else:
        known = (*_WEIGHTS, *(("*.py",) if student.trust_remote_code else ()))
    for name in names:
        folder, _, _ = name.rpartition("/")
        strange = not _matches(name, known) or folder not in ("", "additional_chat_templates")
        if strange or name.casefold() in (CARD.casefold(), MATERIALS.casefold()):
            raise StoreError(
                f"{store.uri(trained.place)} holds a file {name[:100]!r}, which is no part of "
                f"{'a folder of weights' if trained.parameters == 'full' else 'an adapter'}.",
                "Nothing was written. Find out who put it there.",
            )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _published(store: Store, run_id: str, name: str) -> bytes:
    """Return a file that the run's report published, as it was then."""
    key = f"reports/{run_id}/{name}"
    again = f"Make the report again: `thinksafe report {run_id} --artifacts {store.root}`."
    record = find_evidence(store, run_id, "report")
    if record is None or name not in record.outputs:
        raise MissingError(f"The run {run_id} has published no {name}.", again)
    data = store.get(key)
    if digest_bytes(data) != record.outputs[name]:
        raise DamagedError(f"{store.uri(key)} is not what the report of its run wrote (digest differs).", again)
    return data


def _copy_tokenizer(reference: ModelReference, folder: Path) -> None:
    """Copy the files of the student's tokenizer as they are. Raises StageError if the student is another by now."""
    student = reference.student
    if resolve_student(student).digest != reference.base_digest:
        raise StageError(
            f"The student {student.model!r} changed since the version was made (digest differs).",
            "Restore the student that it was trained from.",
        )
    place, revision = local_source(student)
    source = Path(place)
    if not source.is_dir():
        from huggingface_hub import snapshot_download

        source = Path(snapshot_download(place, revision=revision or None, allow_patterns=list(_TOKENIZER)))
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name = path.relative_to(source).as_posix()
        if _matches(name, _TOKENIZER) and name.count("/") <= 1:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / name)


def _merge(
    store: Store, reference: ModelReference, adapter: Path, folder: Path, tell: Callable[[str], None]
) -> None:
    """Write the student's weights with an adapter merged into them, added up in float32, in the student's format."""
    student = reference.student
    parameters = Shapes().of(student).parameters
    if parameters is None:
        tell(f"merging in float32 takes 4 bytes of memory a parameter; how many {student.model} has is unknown")
    else:
        need = parameters * (BYTES["float32"] + BYTES[student.dtype]) / 2**30
        tell(
            f"merging takes {need:.2g} GiB of memory: 4 bytes a parameter in float32 and {BYTES[student.dtype]} as "
            f"{student.dtype}, of {parameters / 1e9:.3g} billion parameters"
        )
    import torch
    from peft import PeftModel

    from thinksafe.training.weights import weights_state, write_weights

    base = reference.model_copy(update={"adapter": "", "adapter_digest": "", "role": "base"})
    model = load_model(base, store, place=False, precise=True)
    if getattr(model.config, "quantization_config", None) is not None:
        raise ConfigError("The student is quantised: merging would round its weights again.", "Leave --merge out.")
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    state = weights_state(merged, sharded=False, dtype=getattr(torch, student.dtype))
    write_weights(merged, state, student, folder)


def _of_merged(card: bytes) -> bytes:
    """Return the card of an adapter as that of merged weights."""
    from huggingface_hub import ModelCard

    found = ModelCard(card.decode(), ignore_metadata_errors=False)
    data: Any = found.data  # its fields are those of the card
    data.library_name = "transformers"
    data.tags = [tag for tag in data.tags or [] if tag != "lora"]
    if data.get("base_model_relation"):
        data.base_model_relation = "finetune"
    found.text = f"{found.text.rstrip()}\n{MERGED}"
    return str(found).encode()
