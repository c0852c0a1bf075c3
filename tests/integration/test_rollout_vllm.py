"""The rollout's command line, read by vLLM's own parser: options that it dropped or renamed would stop every pod."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from rollouts import DIGEST, TARGET, settings_of
from smollm2 import require_vllm

from thinksafe.deploy.manifests import arguments

pytestmark = pytest.mark.slow


def serve_parser() -> Any:
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    for module in ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args"):
        try:
            return import_module(module).make_arg_parser(FlexibleArgumentParser())
        except ModuleNotFoundError:
            continue
    raise AssertionError("this vLLM keeps the parser of `vllm serve` elsewhere")


def test_vllm_takes_the_arguments() -> None:
    require_vllm()
    settings = settings_of(gpus=2, reasoning_parser="qwen3", options={"max_model_len": 4096})
    read = serve_parser().parse_args(arguments(settings, replace(TARGET, trust_remote_code=True)))
    (adapter,) = read.lora_modules
    assert (adapter.name, adapter.path) == ("guarded", f"/adapters/{DIGEST}")
    assert (read.model_tag, read.served_model_name) == ("Qwen/Qwen3-8B", ["guarded-base"])
    assert (read.enable_lora, read.max_loras, read.max_lora_rank) == (True, 1, 32)
    assert (read.reasoning_parser, read.max_model_len, read.dtype) == ("qwen3", 4096, "bfloat16")
    assert (read.revision, read.tokenizer_revision, read.tensor_parallel_size) == ("b" * 40, "b" * 40, 2)
    assert read.trust_remote_code is True
    assert (read.host, read.port) == ("0.0.0.0", 8000)
    behind_tls = settings_of(kind="llm-inference-service", kserve_tls=True)
    read = serve_parser().parse_args(arguments(behind_tls, TARGET))
    assert (read.ssl_certfile, read.ssl_keyfile) == ("/var/run/kserve/tls/tls.crt", "/var/run/kserve/tls/tls.key")
    assert read.enable_ssl_refresh is True
