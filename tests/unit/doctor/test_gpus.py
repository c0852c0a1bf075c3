from __future__ import annotations

from typing import Any

import pytest
from cluster_configs import cluster_document

from thinksafe.config import load_config
from thinksafe.doctor.gpus import gpu_findings


def said(stages: dict[str, Any], extends: str = "qwen3-8b") -> list[str]:
    config = load_config(cluster_document(extends=extends, stages=stages))
    return [f"{finding.status}: {finding.message} {finding.action}" for finding in gpu_findings(config)]


@pytest.mark.parametrize("stages", [{}, {"default": {"gpu": {"count": 1}}, "sample": {"gpu": {"count": 0}}}])
def test_vllm_without_a_gpu_is_told(stages: dict[str, Any]) -> None:
    (text,) = said(stages)
    assert text.startswith("warning: No GPU is asked for by sample")
    assert "cluster.stages.sample.gpu" in text
    assert ("judge" in text) == (not stages)


def test_with_gpus_or_without_vllm_there_is_nothing_to_tell() -> None:
    assert said({"default": {"gpu": {"count": 1}}}) == []
    assert said({}, extends="micro") == []
