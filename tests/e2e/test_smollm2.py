"""The recipe smollm2: a real model, vLLM's CPU engine, a whole run with an honest decision."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from micro_runs import Run
from smollm2 import require_vllm, smollm2_folder

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

PROMPTS = Path(os.environ.get("THINKSAFE_PROMPTS", Path(__file__).parents[3] / "shared" / "data"))
"""Public prompts; the project neither holds nor needs them. A model this small does not see the harm in mild ones."""
FILES = ("star1_harmful", "alpaca_benign", "strongreject", "xstest", "gsm8k_test")


def test_a_real_model_runs_through_every_stage(run_recipe: Callable[..., Run], tmp_path: Path) -> None:
    require_vllm()
    if missing := [name for name in FILES if not (PROMPTS / f"{name}.jsonl").is_file()]:
        pytest.skip(f"no public prompts here ({', '.join(missing)}): set THINKSAFE_PROMPTS to their folder")

    def prompts(name: str, count: int, **filters: object) -> dict[str, object]:
        return {"source": "jsonl", "path": str(PROMPTS / f"{name}.jsonl"), "count": count, **filters}

    benchmarks = [
        {"name": "harm", "metric": "harm", "prompts": prompts("strongreject", 30)},
        {"name": "over-refusal", "metric": "over_refusal", "prompts": prompts("xstest", 30, only={"label": "benign"})},
        {"name": "problems", "metric": "reasoning", "prompts": prompts("gsm8k_test", 30)},
    ]
    config = tmp_path / "smollm2.yaml"
    config.write_text(
        json.dumps(
            {
                "extends": "smollm2",
                "student": {"model": str(smollm2_folder())},
                "data": {
                    "harmful": [{"name": "harmful", "prompts": prompts("star1_harmful", 24)}],
                    "benign": [{"name": "benign", "prompts": prompts("alpaca_benign", 16)}],
                },
                "diagnose": {"prompts": 12},
                "evaluation": {"benchmarks": benchmarks, "settings": {"max_tokens": 48}},
            }
        )
    )
    run = run_recipe(tmp_path / "run", str(config))
    assert run.code in (0, 3), run.text
    decision = run.read("decision.json")
    assert (run.code == 0) == decision["passed"]
    assert run.records["diagnose"]["status"] == "succeeded"
    assert decision["stopped_by"] in (None, "gate")
    for name in ("harm/harm", "over_refusal/over-refusal", "reasoning/problems"):
        for role in ("base", "candidate"):
            assert 0.0 <= run.metric(role, name) <= 1.0
    assert run.records["train"]["counts"]["steps"] > 0
