"""The recipe smollm2: a real model, vLLM's CPU engine, a whole run with an honest decision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from micro_runs import Run
from smollm2 import require_vllm, smollm2_folder

from thinksafe.jsonl import write_records
from thinksafe.micro.world import prompts

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_a_real_model_runs_through_every_stage(run_recipe: Callable[..., Run], tmp_path: Path) -> None:
    """Prompts are the micro world's mild ones; a small real model's refusals decide, whichever way."""
    require_vllm()
    folder = tmp_path / "prompts"
    sets = {
        "harmful": ("train", "harmful", 24), "benign": ("train", "benign", 24),
        "evaluation-harm": ("test", "harmful", 32), "evaluation-benign": ("test", "safe-twin", 32),
        "evaluation-problems": ("test", "reasoning", 32),
    }
    for name, (split, kind, count) in sets.items():
        write_records(folder / f"{name}.jsonl", prompts(split, kind, count, 5))  # type: ignore[arg-type]
    config = tmp_path / "smollm2.yaml"
    benchmarks = [
        {"name": name, "metric": metric, "prompts": {"source": "jsonl", "path": str(folder / f"{file}.jsonl")}}
        for name, metric, file in (
            ("harm", "harm", "evaluation-harm"), ("over-refusal", "over_refusal", "evaluation-benign"),
            ("problems", "reasoning", "evaluation-problems"),
        )
    ]
    training = {
        label: [{"name": label, "prompts": {"source": "jsonl", "path": str(folder / f"{label}.jsonl")}}]
        for label in ("harmful", "benign")
    }
    tokens = {"settings": {"max_tokens": 32}}
    config.write_text(
        json.dumps(
            {
                "extends": "smollm2", "student": {"model": str(smollm2_folder())}, "data": training,
                "sampling": tokens, "diagnose": {"prompts": 12},
                "evaluation": {"benchmarks": benchmarks, **tokens},
            }
        )
    )
    run = run_recipe(tmp_path / "run", str(config))
    assert run.code in (0, 3), run.text
    decision = run.read("decision.json")
    assert decision["stopped_by"] in (None, "gate")
    assert run.records["diagnose"]["status"] == "succeeded"
    for name in ("harm/harm", "over_refusal/over-refusal", "reasoning/problems"):
        for role in ("base", "candidate"):
            assert 0.0 <= run.metric(role, name) <= 1.0
    assert run.records["train"]["counts"]["steps"] > 0
    assert (run.code == 0) == decision["passed"]
