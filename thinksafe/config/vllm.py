"""Options that go to vLLM unchanged, under the names of its engine arguments (``EngineArgs``).

vLLM defines the names and values and checks them where it is installed (:mod:`thinksafe.models.vllm`). This module
refuses options that other settings decide or that would contain a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

OWN = frozenset({
    "disable_log_stats", "dtype", "hf_token", "load_format", "model", "revision", "seed", "served_model_name",
    "skip_tokenizer_init", "tokenizer", "tokenizer_revision", "trust_remote_code",
})
"""Options that the sampler and the guards set themselves."""
OWN_OF_ENGINE = OWN | {"enable_lora", "lora_modules", "max_lora_rank", "max_loras", "tensor_parallel_size"}
OWN_OF_GUARD = OWN | {"enable_lora", "max_logprobs", "max_model_len"}

OWN_OF_SERVER = OWN - {"disable_log_stats", "load_format", "seed", "skip_tokenizer_init", "tokenizer"} | {
    "api_key", "enable_lora", "enable_ssl_refresh", "host", "lora_modules", "max_lora_rank", "max_loras", "port",
    "reasoning_parser", "ssl_certfile", "ssl_keyfile", "tensor_parallel_size",
}
"""Options that the rollout sets itself for ``vllm serve``, or that would contain a secret."""


def _refuse(options: Mapping[str, Any], own: frozenset[str]) -> None:
    if taken := sorted(own & set(options)):
        raise ValueError(f"{', '.join(taken)}: other settings of this config decide it; leave it out")
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError("a value is not JSON: numbers must be finite, and dates must be texts") from error


def _of_engine(options: dict[str, Any]) -> dict[str, Any]:
    _refuse(options, OWN_OF_ENGINE)
    return options


def _of_guard(options: dict[str, Any]) -> dict[str, Any]:
    _refuse(options, OWN_OF_GUARD)
    return options


def _of_server(options: dict[str, Any]) -> dict[str, Any]:
    _refuse(options, OWN_OF_SERVER)
    return options


_Option = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
EngineOptions = Annotated[dict[_Option, Any], AfterValidator(_of_engine)]
GuardOptions = Annotated[dict[_Option, Any], AfterValidator(_of_guard)]
ServerOptions = Annotated[dict[_Option, Any], AfterValidator(_of_server)]


def parallel(options: Mapping[str, Any], tensor: int = 1) -> int:
    """Return how many GPUs vLLM spreads one model over: tensor parallel times pipeline parallel.

    Args:
        options: The options.
        tensor: ``tensor_parallel_size``, if it is not among the options.
    """
    sizes = options.get("tensor_parallel_size", tensor), options.get("pipeline_parallel_size", 1)
    count = 1
    for size in sizes:
        count *= size if isinstance(size, int) and size > 0 else 1
    return count
