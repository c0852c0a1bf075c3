"""The two files of a trained adapter (``ADAPTER_FILES``). PEFT's own saving adds a model card that quotes paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinksafe.jsonl import write_json
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.training.sharding import WRAPPER

if TYPE_CHECKING:
    from torch import Tensor


def adapter_state(model: Any, sharded: bool) -> dict[str, Tensor]:
    """Return an adapter's weights by their names in the file.

    Args:
        model: PEFT model.
        sharded: Whether each process holds a share (:mod:`thinksafe.training.sharding`). Then all must call, and only
            the first gets the weights.
    """
    from peft import get_peft_model_state_dict

    state = None
    if sharded:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        # torch leaves the wrappers out of names; PEFT looks for module names that include them
        names = {name.replace(WRAPPER, ""): name for name, weight in model.named_parameters() if weight.requires_grad}
        whole = get_model_state_dict(model, options=options)
        state = {names[name]: weight for name, weight in whole.items() if name in names}
    # "auto" would ask the hub whether the vocabulary was resized
    found = get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False)
    return {name.replace(WRAPPER, ""): weight.detach().cpu().contiguous() for name, weight in found.items()}


def changed_matrices(folder: Path) -> tuple[int, int]:
    """Return how many of an adapter's modules change their output, and how many it has.

    LoRA adds the product of two matrices to a weight, and training begins with the second one zero.

    Args:
        folder: Folder with the adapter's files.
    """
    # read by hand, because the pod that only starts a TrainJob has neither torch nor safetensors
    with (folder / ADAPTER_FILES[1]).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensors: dict[str, Any] = json.loads(file.read(length))
        second = []
        for name, tensor in tensors.items():
            if "lora_B" in name:
                start, end = tensor["data_offsets"]
                file.seek(8 + length + start)
                # all floats have zeros, or a sign alone, where the number is zero
                second.append(bool(file.read(end - start).strip(b"\x00\x80")))
    return sum(second), len(second)


def write_adapter(model: Any, state: dict[str, Tensor], folder: Path) -> None:
    """Write an adapter (:func:`adapter_state`) into an existing folder."""
    from safetensors.torch import save_file

    config_name, weights_name = ADAPTER_FILES
    save_file(state, folder / weights_name, metadata={"format": "pt"})
    settings = model.peft_config["default"].to_dict() | {"inference_mode": True}
    # sets are written sorted: the order of a set of strings differs between processes
    document = json.loads(json.dumps(settings, default=lambda value: sorted(value)))
    write_json(folder / config_name, document)
