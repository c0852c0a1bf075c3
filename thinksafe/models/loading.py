"""Find, check and load students, and what training made of them, from safetensors only.

Everything here refuses rather than guesses: pickled weights, a missing tokenizer or chat template, files whose digest
differs from the reference, and weights that the checkpoint lacks (transformers would fill them with random numbers).
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinksafe.digests import digest_folder
from thinksafe.errors import InputError, StageError
from thinksafe.models.hub import hub_commit, is_commit, is_hub_id, mirrored
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import fetch_trained, weights_folder
from thinksafe.settings import StudentSettings
from thinksafe.store import Store

if TYPE_CHECKING:
    import torch

TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json"}
)
# Everything that from_pretrained may read; a file too many costs a repeated run, a file too few gives a stale one.
_DIGESTED = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt", ".tiktoken", ".py"})
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
_CONVERT = "Convert the weights with transformers: from_pretrained(...).save_pretrained(folder) writes safetensors."


@dataclass(frozen=True)
class ResolvedModel:
    """Where a student is, and the digest of its content."""

    path_or_id: str
    """Local folder, or hub id."""
    revision: str
    """Commit of a hub id or of its copy in a mirror; empty for any other folder."""
    digest: str
    """SHA-256 over a folder's weights, configuration and tokenizer; ``<hub id>@<commit>`` for a hub model."""


def resolve_student(student: StudentSettings, key: str = "student") -> ResolvedModel:
    """Find a student and return what identifies it. Reads a local folder whole; asks the hub only for a branch or tag.

    Args:
        student: The settings.
        key: Their key in the configuration, for messages.

    Raises:
        InputError: there is no such model, or it cannot be used (no configuration, tokenizer or safetensors).
    """
    folder = _student_folder(student, key)
    if folder is not None:
        _check_files({path.name for path in folder.iterdir() if path.is_file()}, str(folder))
        # a copy of a hub model is found again by its commit; other folders have none
        commit = student.revision if mirrored(student.model, student.revision) else ""
        return ResolvedModel(str(folder), commit, digest_folder(folder, model_files(folder)))
    commit = student.revision
    if not is_commit(commit):
        commit, names = hub_commit(f"{key}.revision", student.model, commit)
        _check_files(names, f"{key}.model {student.model!r}")
    return ResolvedModel(student.model, commit, f"{student.model}@{commit}")


def local_source(student: StudentSettings) -> tuple[str, str]:
    """Return the source that a library loads a student from: folder and "", or hub id and revision. Reads no file."""
    folder = _student_folder(student)
    return (str(folder), "") if folder is not None else (student.model, student.revision)


def local_copy(student: StudentSettings) -> str:
    """Return the folder with the files of a student that was loaded, for libraries that know no revision."""
    source, revision = local_source(student)
    if not revision:
        return source
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source, "config.json", revision=revision)
    if not isinstance(found, str):
        raise StageError(f"The files of {source!r} are not in the hub's cache.", "Start the same stage again.")
    return str(Path(found).parent)


def _student_folder(student: StudentSettings, key: str = "student") -> Path | None:
    """Return the folder of a shipped, local or mirrored student, or None for a hub id to fetch from the hub."""
    model = student.model
    if model.startswith("micro://"):
        from thinksafe.micro.students import student_path

        try:
            return student_path(model.removeprefix("micro://"))
        except (ValueError, FileNotFoundError) as error:
            raise InputError(f"{key}.model {model!r}: {error}.", "Use one of the shipped students.") from error
    if model.startswith("s3://"):
        from thinksafe.store.remote import local_folder

        return local_folder(model)
    if "://" in model:
        raise InputError(
            f"{key}.model {model!r} has a scheme that is not supported.", "Use micro://, s3://, a folder or a hub id."
        )
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{key}.model {model!r} is a file.", "Name the folder that contains the model.")
    if not is_hub_id(model):
        raise InputError(f"{key}.model: the folder {model!r} does not exist.", "Check the path.")
    if copy := mirrored(model, student.revision):
        from thinksafe.store.remote import local_folder

        return local_folder(copy)
    return None


def _check_files(names: set[str], where: str) -> None:
    if "config.json" not in names:
        raise InputError(f"{where} has no config.json.", "Name a folder written by transformers' save_pretrained.")
    suffixes = {Path(name).suffix for name in names}
    if ".safetensors" not in suffixes:
        if suffixes & _PICKLED:
            raise InputError(
                f"{where} has its weights as pickle files only, which can run code when loaded.", _CONVERT
            )
        raise InputError(f"{where} has no weights (*.safetensors).", "Copy the whole model folder.")
    if not names & TOKENIZER_FILES:
        raise InputError(f"{where} has no tokenizer.", "Save it there with tokenizer.save_pretrained(folder).")


def model_files(folder: Path) -> list[str]:
    """Return the names of the files that a model is loaded from, and that its digest covers."""
    found = [*folder.iterdir(), *(folder / "additional_chat_templates").glob("*.jinja")]
    return [path.relative_to(folder).as_posix() for path in found if path.suffix in _DIGESTED and path.is_file()]


def source_of(reference: ModelReference, store: Store) -> tuple[str, str]:
    """Return the source that a library loads a reference's weights from: a folder and "", or hub id and revision.

    That is the student, to which an adapter comes on top, or the weights that were trained in its place.

    Raises:
        StoreError: see :func:`thinksafe.models.trained.weights_folder`.
    """
    trained = reference.trained
    if trained is not None and trained.parameters == "full":
        return str(weights_folder(store, trained)), ""
    return local_source(reference.student)


def load_tokenizer(reference: ModelReference) -> Any:
    """Load the tokenizer of a reference's student, which training leaves as it is. Raises InputError."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    source, options = _source(reference.student, *local_source(reference.student))
    # transformers 5 applies SentencePiece's rules to byte-level tokenizers that name LlamaTokenizerFast, such as that
    # of R1-Distill-Llama (huggingface/transformers#45488); the second class uses tokenizer.json unchanged
    for loader in (AutoTokenizer, PreTrainedTokenizerFast):
        try:
            tokenizer = loader.from_pretrained(source, **options)
        except Exception as error:  # a malformed file gives errors of many types
            raise _unloadable("tokenizer", reference.student, error) from error
        if " " in str(tokenizer.decode(tokenizer("a b", add_special_tokens=False)["input_ids"])).strip():
            return tokenizer
    raise InputError(f"The tokenizer of {reference.student.model!r} loses spaces.", "Check its tokenizer_class.")


def load_model(reference: ModelReference, store: Store, place: bool = True, *, precise: bool = False) -> Any:
    """Load a reference's student, with its adapter or the weights in its place, for inference (evaluation mode).

    On hardware without bfloat16 units, bfloat16 becomes float32, with a warning.

    Args:
        reference: The model.
        store: Holds the adapter or the weights.
        place: Put the model on the GPU if there is one; otherwise it stays on the CPU.
        precise: Load in float32 whatever its number format, to train all weights.

    Raises:
        InputError: the student cannot be loaded, or lacks weights.
        StageError: the student's files changed since the reference was made.
        StoreError: see :func:`thinksafe.models.trained.fetch_trained`.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    student = reference.student
    resolved = resolve_student(student)
    if resolved.digest != reference.base_digest:
        raise StageError(
            f"The student {student.model!r} changed since the run was planned (digest differs).",
            "Start a new run, with student.revision set to a commit for a hub model.",
        )
    device, dtype = placement(student)
    if student.dtype == "bfloat16" and dtype == torch.float32 and not precise:
        warnings.warn(
            f"This {device} has no bfloat16 units: the student is loaded in float32, which is faster here. "
            "Set student.dtype: float32 to silence this warning.",
            stacklevel=2,
        )
    source, options = _source(student, *source_of(reference, store))
    options |= {
        "dtype": torch.float32 if precise else dtype, "use_safetensors": True, "output_loading_info": True,
    }
    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        model, loaded = load(source, **options)
    except Exception as error:  # a malformed file gives errors of many types
        raise _unloadable("model", student, error) from error
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(
            f"The weights of {student.model!r} lack {len(missing)} tensors ({missing[0]}, ...).",
            "Copy the whole model folder.",
        )
    if (trained := reference.trained) is not None and trained.parameters == "lora":
        from peft import PeftModel

        with tempfile.TemporaryDirectory() as folder:
            model = PeftModel.from_pretrained(model, fetch_trained(store, trained, Path(folder)))
    return (model.to(device) if place else model).eval()


def _source(student: StudentSettings, source: str, revision: str) -> tuple[str, dict[str, Any]]:
    """Return the first argument and the options of ``from_pretrained``."""
    return source, {"trust_remote_code": student.trust_remote_code, "revision": revision or None}


def placement(student: StudentSettings) -> tuple[torch.device, torch.dtype]:
    """Return where a student is loaded here, and in which number format: float32 without bfloat16 units."""
    import torch

    if torch.cuda.is_available():
        device, units = "cuda", torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        device, units = "cpu", any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.device(device), torch.bfloat16 if student.dtype == "bfloat16" and units else torch.float32


def _unloadable(what: str, student: StudentSettings, error: Exception) -> InputError:
    action = "Check the model's files and, for a hub id, the network and student.revision."
    if "trust_remote_code" in str(error):
        action = "It comes with its own code: set student.trust_remote_code to true if you trust that code."
    return InputError(f"The {what} of {student.model!r} cannot be loaded ({type(error).__name__}).", action)


def positions_of(config: Any) -> int:
    """Return how many tokens a model of this configuration can hold, scaled RoPE included; 0 if it does not say."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    positions = int(getattr(text, "max_position_embeddings", None) or 0)
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if not isinstance(rope.get("factor"), int | float):
        return positions
    original = rope.get("original_max_position_embeddings") or positions
    return max(positions, int(original * rope["factor"]))


def end_tokens(model: Any, tokenizer: Any, name: str) -> frozenset[int]:
    """Return the ids that end a response, of the generation config and the tokenizer. Raises InputError if none."""
    configured = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])} - {None}
    if not ends:
        raise InputError(
            f"The model {name!r} has no end-of-sequence token.", "Set eos_token in its tokenizer_config.json."
        )
    return frozenset(ends)
