"""FSDP: a training whose processes each hold a share of the student's weights, through accelerate's FSDP2.

A layer's weights are gathered when it runs and freed afterwards, so a GPU needs memory for its share, one layer, the
adapter and the activations. Only the first process of each node loads the student; the others get their share from the
very first process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

WRAPPER = "._checkpoint_wrapped_module"
"""Torch's part of the names inside a layer with activation checkpointing."""
BACKEND = "cuda:nccl,cpu:gloo"
"""Checkpoints are read and written through CPU memory."""


def announce() -> None:
    """Configure sharding in transformers and accelerate; call it before the student is loaded."""
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}


def arguments() -> dict[str, Any]:
    """Return the arguments of TRL's SFTConfig."""
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "reshard_after_forward": True,
            "cpu_ram_efficient_loading": True,
            "state_dict_type": "FULL_STATE_DICT",
        },
    }


def adjust(arguments: Any) -> None:
    """Set what the arguments of SFTConfig cannot express."""
    import torch
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if arguments.bf16:
        # accelerate's own policy would sum gradients in bfloat16, and round what the loss is computed from
        arguments.fsdp_plugin_args["mixed_precision_policy"] = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32
        )
    if not torch.cuda.is_available():
        # accelerate shards on any accelerator, but would use DistributedDataParallel on CPUs
        PartialState().distributed_type = DistributedType.MULTI_XPU


def checkpoint_layers(model: Any) -> None:
    """Make the student's layers recompute their activations in the backward pass, with the same dropout.

    accelerate's own switch does not keep the random state, so gradient and loss would use different dropout.
    """
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    kinds = set(getattr(model, "_no_split_modules", None) or ())
    for name, layer in [named for named in model.named_modules() if type(named[1]).__name__ in kinds]:
        model.set_submodule(name, checkpoint_wrapper(layer))


def reshard(model: Any) -> None:
    """Give back what a forward pass without a backward one left whole, before weights are loaded into the shares."""
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()


def whole(weight: Any) -> Tensor:
    """Return a weight as if it were not sharded; all processes must call."""
    found: Tensor = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    return found


def share(model: Any) -> float:
    """Return the share of the parameters that this process holds, in (0, 1]."""
    weights = list(model.parameters())
    held = sum((weight.to_local() if hasattr(weight, "to_local") else weight).numel() for weight in weights)
    return float(held / sum(weight.numel() for weight in weights))
