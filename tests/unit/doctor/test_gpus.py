from __future__ import annotations

from typing import Any

from cluster_configs import cluster_document

from thinksafe.config import load_config
from thinksafe.doctor.gpus import gpu_findings


def said(stages: dict[str, Any], extends: str = "qwen3-8b") -> list[str]:
    config = load_config(cluster_document(extends=extends, stages=stages))
    return [f"{finding.status}: {finding.message} {finding.action}" for finding in gpu_findings(config)]


def test_vllm_on_pods_that_are_to_have_no_gpu_is_told() -> None:
    (text,) = said({"default": {"gpu": {"count": 1}}, "sample": {"gpu": {"count": 0}}})
    assert text.startswith("warning: These stages run vLLM without a GPU: sample.")
    assert "cluster.stages.sample.gpu" in text


def test_a_recipe_asks_for_what_it_needs() -> None:
    assert said({}) == []
    assert said({"default": {"gpu": {"count": 1}}}) == []
    assert said({}, extends="micro") == []
