"""GPU memory of a training of all weights, told from the configuration alone."""

from __future__ import annotations

import pytest

from thinksafe.config import load_config
from thinksafe.config.cluster_stages import GpuSettings
from thinksafe.config.memory import GIB, bytes_needed, check_memory, memory_of, parameters_of
from thinksafe.config.model import TrainingSettings
from thinksafe.deciding.feasibility import findings_on
from thinksafe.errors import ConfigError


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("Qwen/Qwen3-8B", 8), ("Qwen/Qwen3-0.6B", 0.6), ("Qwen/Qwen3-30B-A3B", 30),
        ("org/SmolLM2-135M-Instruct", 0.135),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1.5), ("s3://bucket/models/our-7b/", 7),
        ("micro://default", 0), ("/models/8B/ours", 0), ("our-model-v2.0b1", 0), ("qwen3", 0),
    ],
)
def test_the_size_is_what_the_name_states(model: str, billions: float) -> None:
    assert parameters_of(model) == pytest.approx(billions * 1e9)


def test_bytes() -> None:
    assert bytes_needed(1e9, 1, "sft") == 16e9
    assert bytes_needed(1e9, 4, "sft") == 4e9
    assert bytes_needed(1e9, 1, "kl") == 18e9
    assert bytes_needed(1e9, 1, "self-distillation") == 18e9
    assert bytes_needed(1e9, 1, "grpo") == 20e9


@pytest.mark.parametrize(
    ("gpu", "gib"),
    [({"memory": "80Gi"}, 80), ({"type": "nvidia.com/mig-3g.40gb"}, 40), ({}, 0), ({"type": "amd.com/gpu"}, 0)],
)
def test_the_memory_of_a_gpu_is_configured_or_in_a_slices_name(gpu: dict[str, str], gib: float) -> None:
    assert memory_of(GpuSettings(**gpu)) == gib * GIB


@pytest.mark.parametrize(
    ("model", "training", "gpu", "objective", "said"),
    [
        ("Qwen/Qwen3-8B", {}, {"memory": "80Gi"}, "sft", "119 GiB on each GPU"),
        ("Qwen/Qwen3-4B", {}, {"memory": "80Gi"}, "sft", ""),
        ("Qwen/Qwen3-4B", {}, {"memory": "64Gi"}, "kl", "67 GiB on each GPU"),
        ("Qwen/Qwen3-8B", {"strategy": "fsdp"}, {"memory": "80Gi", "count": 2}, "sft", ""),
        ("Qwen/Qwen3-32B", {"strategy": "fsdp"}, {"memory": "80Gi", "count": 4}, "sft", "divided among 4 processes"),
        ("Qwen/Qwen3-8B", {"parameters": "lora"}, {"memory": "80Gi"}, "sft", ""),
        ("Qwen/Qwen3-8B", {}, {}, "sft", ""), ("our-model", {}, {"memory": "1Gi"}, "sft", ""),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(
    model: str, training: dict[str, str], gpu: dict[str, object], objective: str, said: str
) -> None:
    settings = TrainingSettings.model_validate({"parameters": "full", **training})
    if not said:
        check_memory(settings, model, GpuSettings.model_validate(gpu), objective)
        return
    with pytest.raises(ValueError, match=said) as caught:
        check_memory(settings, model, GpuSettings.model_validate(gpu), objective)
    assert "16 bytes" not in str(caught.value)
    assert "4 bytes for the weight, 4 for the gradient and 8 for AdamW" in str(caught.value)
    assert "strategy fsdp on more GPUs, or parameters lora" in str(caught.value)


def test_config_check_tells_what_all_weights_take() -> None:
    config = load_config("qwen3-0.6b", ["training.parameters=full"])
    (finding,) = (found for found in findings_on(config) if found.check == "training")
    assert finding.message.startswith("Training all weights of 0.6 billion parameters takes 9 GiB on each GPU")
    assert not [found for found in findings_on(load_config("qwen3-0.6b")) if found.check == "training"]


def test_the_kl_of_all_weights_is_not_shared_out() -> None:
    overrides = ["training.parameters=full", "training.strategy=fsdp", "training.processes=2"]
    load_config("micro", overrides)
    with pytest.raises(ConfigError, match="frozen copy of the student on each GPU"):
        load_config("micro-kl", overrides)
    load_config("micro-kl", overrides[:1])
