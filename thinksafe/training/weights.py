"""All weights of a trained student, in a folder that loads by itself: the student's own files with other weights.

Training holds weights in float32, because its steps are smaller than what bfloat16 resolves; they are written in the
number format in which the student is loaded. Checkpoints keep float32.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinksafe.errors import ConfigError
from thinksafe.models.loading import local_source, model_files
from thinksafe.settings import StudentSettings
from thinksafe.training.sharding import WRAPPER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SHARD = "4GB"
"""Largest file of weights."""
CHECKPOINT = "model.safetensors"
"""Weights of a checkpoint, under the names that training has for them."""
_PATTERNS = ["*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.py", "additional_chat_templates/*.jinja"]


def check_trainable(model: Any) -> None:
    """Refuse a student whose weights are no numbers that a gradient moves. Raises ConfigError."""
    if getattr(model.config, "quantization_config", None) is not None:
        raise ConfigError(
            "The student is quantised, so its weights cannot all be trained.",
            "Set training.parameters: lora, or name the student that it was made from.",
        )


def weights_state(model: Any, sharded: bool, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Return all weights by name, on the CPU, tied ones once.

    Args:
        model: Causal language model.
        sharded: Whether each process holds a share (:mod:`thinksafe.training.sharding`). Then all must call, and only
            the first gets the weights.
        dtype: Number format of the result; that of the model by default.
    """
    found: dict[str, Any]
    if sharded:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        found = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    else:
        found = model.state_dict()
    found = {name.replace(WRAPPER, ""): weight for name, weight in found.items()}
    once = {name.replace(WRAPPER, "") for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return {
        name: weight.detach().to(dtype if dtype and weight.is_floating_point() else weight.dtype).cpu().contiguous()
        for name, weight in found.items() if name in once
    }


def round_weights(model: Any, dtype: torch.dtype) -> None:
    """Round a model's weights to the number format in which they are written, so that what is measured is served."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(dtype))


def marks_of(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the digest of each weight's numbers."""
    import torch

    def mark(weight: Tensor) -> str:
        return hashlib.sha256(weight.reshape(-1).view(torch.uint8).numpy().data).hexdigest()

    return {name: mark(weight) for name, weight in state.items()}


def save_checkpoint(trainer: Any, output_dir: str | None) -> None:
    """Write the weights of a trainer as it loads them again, for a checkpoint; the first process writes."""
    from safetensors.torch import save_file

    if trainer.args.should_save:
        folder = Path(output_dir or str(trainer.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights_state(trainer.model, sharded=False), folder / CHECKPOINT, metadata={"format": "pt"})


def write_weights(model: Any, state: dict[str, Tensor], student: StudentSettings, folder: Path) -> None:
    """Write weights (:func:`weights_state`) into an existing folder, with the student's other files.

    Configuration, tokenizer, chat template and generation settings are copied, not written anew: the candidate is
    served as the student is.
    """
    from transformers import GenerationConfig

    config, generation = copy.deepcopy(model.config), model.generation_config
    # transformers refuses to write publishers' settings that contradict one another
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            model.save_pretrained(temporary, state_dict=state, max_shard_size=SHARD)
            for path in sorted(Path(temporary).glob("model*.safetensors*")):
                shutil.move(path, folder / path.name)
    finally:
        model.config, model.generation_config = config, generation
    source = _companions(student)
    for name in model_files(source):
        if not name.endswith((".safetensors", ".index.json")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)


def _companions(student: StudentSettings) -> Path:
    """Return a folder with the student's files, of which those beside the weights are needed."""
    source, revision = local_source(student)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, revision=revision or None, allow_patterns=_PATTERNS))
