"""The vLLM and endpoint engines on a real model, against transformers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from smollm2 import require_vllm, smollm2_folder

from thinksafe.config.model import EngineSettings
from thinksafe.digests import digest_folder
from thinksafe.errors import ConfigError
from thinksafe.micro.world import prompts
from thinksafe.models.loading import resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines import open_engine
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

pytestmark = pytest.mark.slow

GREEDY = SamplingSettings(temperature=0.0, max_tokens=24)
DRIVER = """
import json, sys
from pathlib import Path
from thinksafe.config.model import EngineSettings
from thinksafe.sampling.engines import open_engine
from thinksafe.models.references import ModelReference
from thinksafe.records import SamplingSettings
from thinksafe.store.local import LocalStore

if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    model = ModelReference.model_validate(job["model"])
    engine = open_engine(EngineSettings(**job["engine"]), model, LocalStore(Path(job["store"])))
    found = [
        [made.__dict__ for made in engine.generate(
            job["conversations"], SamplingSettings(**settings), seed, lambda rows: None)]
        for settings, seed in job["calls"]
    ]
    Path(sys.argv[2]).write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def student() -> ModelReference:
    require_vllm()
    settings = StudentSettings(model=str(smollm2_folder()), reasoning="none", dtype="float32")
    return ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)


@pytest.fixture(scope="module")
def conversations() -> list[list[dict[str, str]]]:
    rows = [*prompts("test", "harmful", 12, 1), *prompts("test", "reasoning", 12, 1)]
    return [[{"role": "user", "content": row.prompt}] for row in rows]


def drive(
    folder: Path, kind: str, model: ModelReference, turns: Any, calls: list[tuple[dict[str, Any], int]],
    **engine: Any,
) -> Any:
    """Generate in a process of its own: vLLM starts workers that import the main module again."""
    job = {
        "model": model.model_dump(mode="json"), "conversations": turns, "store": str(folder / "store"),
        "engine": {"kind": kind, "batch_size": 16, "options": {"max_model_len": 512}, **engine}, "calls": calls,
    }
    script, task, result = folder / f"drive_{kind}.py", folder / f"{kind}.json", folder / f"{kind}-out.json"
    script.write_text(DRIVER)
    task.write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, str(script), str(task), str(result)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(result.read_text())


def test_greedy_text_equals_transformers_and_rows_have_their_own_seed(
    student: ModelReference, conversations: Any, tmp_path: Path
) -> None:
    greedy = GREEDY.model_dump()
    drawn = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=24).model_dump()
    ours = drive(tmp_path, "vllm", student, conversations, [(greedy, 1), (drawn, 5), (drawn, 5), (drawn, 6)])
    reference = drive(tmp_path, "transformers", student, conversations, [(greedy, 1)])[0]
    same = sum(a["response"] == b["response"] for a, b in zip(ours[0], reference, strict=True))
    assert same >= 0.95 * len(reference)  # the rest differ where two logits nearly tie
    assert all(0 < row["tokens"] <= 24 for row in ours[0])
    assert {row["finish"] for row in ours[0]} <= {"stop", "length"}
    assert any(row["finish"] == "length" for row in ours[0])
    assert [row["prompt_tokens"] for row in ours[0]] == [row["prompt_tokens"] for row in reference]
    assert ours[1] == ours[2]
    assert ours[1] != ours[3]


def test_an_adapter_of_rank_32_gives_the_same_text_as_in_transformers(
    student: ModelReference, conversations: Any, tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    from thinksafe.models.loading import load_model

    store = LocalStore(tmp_path / "store")
    torch.manual_seed(3)
    settings = LoraConfig(r=32, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(load_model(student, store), settings)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(tmp_path / "adapter")
    for name in ADAPTER_FILES:
        store.put_file(f"adapters/x/{name}", tmp_path / "adapter" / name)
    adapted = student.model_copy(
        update={
            "role": "candidate", "adapter": "adapters/x",
            "adapter_digest": digest_folder(tmp_path / "adapter", ADAPTER_FILES),
        }
    )
    greedy = [(GREEDY.model_dump(), 1)]
    ours = drive(tmp_path, "vllm", adapted, conversations, greedy)[0]
    merged = drive(tmp_path, "vllm", adapted, conversations, greedy, merge_adapter=True)[0]
    reference = drive(tmp_path, "transformers", adapted, conversations, greedy)[0]
    plain = drive(tmp_path, "transformers", student, conversations, greedy)[0]
    texts = [[row["response"] for row in rows] for rows in (ours, reference, plain)]
    assert sum(a["response"] == b for a, b in zip(merged, texts[1], strict=True)) >= 0.95 * len(texts[1])
    assert sum(a == b for a, b in zip(texts[0], texts[1], strict=True)) >= 0.95 * len(texts[1])
    assert sum(a == b for a, b in zip(texts[1], texts[2], strict=True)) < 0.5 * len(texts[1])


def test_options_are_vllms_own(student: ModelReference, tmp_path: Path) -> None:
    """In this process: vLLM is not started with options that it does not take."""
    store = LocalStore(tmp_path / "store")
    for options, words in (
        ({"kv_cache_dtyp": "fp8"}, "engine.options has 'kv_cache_dtyp'.*Did you mean 'kv_cache_dtype'"),
        ({"max_model_len": 512, "kv_cache_dtype": "nothing"}, "does not start with engine.options"),
    ):
        with pytest.raises(ConfigError, match=words):
            open_engine(EngineSettings(kind="vllm", options=options), student, store)


def test_options_reach_vllm(student: ModelReference, conversations: Any, tmp_path: Path) -> None:
    greedy = [(GREEDY.model_dump(), 1)]
    few = drive(tmp_path, "vllm", student, conversations, greedy, options={"max_model_len": 512, "max_num_seqs": 2})
    assert [row["tokens"] > 0 for row in few[0]] == [True] * len(conversations)


@pytest.fixture
def endpoint(student: ModelReference, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", student.student.model, "--dtype",
        "float32", "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "512", "--enforce-eager",
        "--served-model-name", "student", "--generation-config", "vllm",
    ]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
        )
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "server.log").read_text()[-3000:]
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_an_endpoint_gives_the_same_text(
    endpoint: str, student: ModelReference, conversations: Any, tmp_path: Path
) -> None:
    settings = EngineSettings(kind="endpoint", base_url=endpoint, served_model="student", batch_size=8)
    engine = open_engine(settings, student, LocalStore(tmp_path / "store"))
    finished: list[int] = []
    found = engine.generate(conversations, GREEDY, 1, finished.append)
    reference = drive(tmp_path, "transformers", student, conversations, [(GREEDY.model_dump(), 1)])[0]
    assert sum(a.response == b["response"] for a, b in zip(found, reference, strict=True)) >= 0.95 * len(found)
    assert [row.prompt_tokens for row in found] == [row["prompt_tokens"] for row in reference]
    assert sum(finished) == len(conversations)
