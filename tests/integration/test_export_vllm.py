"""An exported adapter is served by `vllm serve --lora-modules`, and says something else than its base."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from smollm2 import require_vllm, smollm2_folder

from thinksafe.deploy.export import CARD, MATERIALS, export
from thinksafe.digests import digest_bytes, digest_folder
from thinksafe.models.loading import load_model, resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.registry.versions import Release
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

pytestmark = pytest.mark.slow

START_S = 600.0


def test_vllm_serves_an_exported_adapter(store: LocalStore, tmp_path: Path) -> None:
    require_vllm()
    student = StudentSettings(model=str(smollm2_folder()), reasoning="none", dtype="float32")
    folder = export(store, release(store, student, tmp_path), tmp_path / "out", merge=False, tell=print)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # the server of `vllm serve`, whose command wants a distribution named vllm: the CPU build has another name
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", student.model, "--enable-lora",
        "--max-lora-rank", "8",
        "--lora-modules", f"mended={folder}", "--served-model-name", "base", "--dtype", "float32",
        "--max-model-len", "256", "--enforce-eager", "--port", str(port), "--host", "127.0.0.1",
    ]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        wait_for(port, server, tmp_path / "log")
        said = {name: complete(port, name) for name in ("base", "mended")}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
    assert all(said.values())
    assert said["base"] != said["mended"]


def release(store: LocalStore, student: StudentSettings, tmp_path: Path) -> Release:
    """Put an adapter with random weights into a store, as a release whose run has published its documents."""
    import torch
    from peft import LoraConfig, get_peft_model

    from thinksafe.training.adapters import adapter_state, write_adapter

    base = ModelReference(role="base", student=student, base_digest=resolve_student(student).digest)
    made = tmp_path / "made"
    made.mkdir()
    torch.manual_seed(3)
    settings = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(load_model(base, store), settings)
    write_adapter(model, adapter_state(model, sharded=False), made)
    digest = digest_folder(made, ADAPTER_FILES)
    for name in ADAPTER_FILES:
        store.put_file(f"adapters/key/{digest}/{name}", made / name)
    documents = {CARD: b"---\ntags: [safety]\n---\n\n# card\n", MATERIALS: b"{}\n"}
    for name, data in documents.items():
        store.put(f"reports/run-1/{name}", data)
    write_stage_record(store, StageRecord(
        run_id="run-1", stage="report", task="report", status="succeeded", started=1.0, seconds=1.0,
        outputs={name: digest_bytes(data) for name, data in documents.items()},
    ))
    reference = base.model_copy(
        update={"role": "champion", "adapter": f"adapters/key/{digest}", "adapter_digest": digest}
    )
    return Release(reference, "1", "run-1", was_champion=True)


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(2)
    pytest.fail(f"vLLM did not start in {START_S:.0f} s: {log.read_text(errors='replace')[-3000:]}")


def complete(port: int, model: str) -> Any:
    body = {"model": model, "prompt": "The capital of France is", "max_tokens": 12, "temperature": 0}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["choices"][0]["text"]
