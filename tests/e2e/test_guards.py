"""Every guard with weights, as a tiny model of its structure, filters or judges in a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from micro_runs import Run, execute
from tiny_gated import ANSWERS, llama_model, llama_tokenizer, mistral_tokenizer, wildguard_model
from tiny_guards import FAMILIES, settings_for, write_guard

from thinksafe.config.guard_kinds import KINDS

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SMALL = (
    "data.harmful.0.prompts.count=24", "data.benign.0.prompts.count=24", "training.epochs=1",
    "evaluation.benchmarks.0.prompts.count=16", "evaluation.benchmarks.1.prompts.count=16",
    "evaluation.benchmarks.2.prompts.count=32", "evaluation.parts=[whole]", "evaluation.parallelism=1",
    "sampling.parallelism=1", "diagnose={prompts: 16, on_failure: warn}", "gate.min_prompts=10", "gate.harm.max=0.9",
    "gate.over_refusal.max=0.9", "gate.max_unknown=0.9", "gate.max_truncated=0.9",
    "gate.reasoning={max_loss: 0.5, margin: 0.6}",
    # a guard that says the same of every text tells nothing apart; the run must reach the gate all the same
    "curate={min_examples: 0, require_refusal: false, require_compliance: false}",
)
PAIRS = (
    ("granite-guardian-3.3", "qwen3guard"), ("gpt-oss-safeguard", "nemotron-safety-guard-3"),
    ("wildguard", "llama-guard-3"), ("polyguard", "granite-guardian-4.1"),
)
"""The guard that filters, and the one that evaluates."""


def guard(kind: str, folder: Path, verdict: str) -> dict[str, Any]:
    """Write a tiny guard and return its settings; those of the gated ones say what their weights happen to say."""
    folder.mkdir()
    if kind == "llama-guard-3":
        llama_model(folder, llama_tokenizer(folder))
        return {"kind": kind, "model": str(folder), "dtype": "float32", "max_length": 4096}
    if kind == "wildguard":
        wildguard_model(folder, mistral_tokenizer(folder), ANSWERS[3:6] if verdict == "safe" else ANSWERS[:3])
        return {"kind": kind, "model": str(folder), "dtype": "float32", "max_length": 4096}
    write_guard(kind, folder, verdict)
    return settings_for(kind, folder, batch_size=32).model_dump(mode="json", exclude_defaults=True)


def run(folder: Path, filter_: dict[str, Any], evaluate: dict[str, Any]) -> Run:
    settings = (*SMALL, f"guard.filter={json.dumps(filter_)}", f"guard.evaluate={json.dumps(evaluate)}")
    return execute(folder, "micro", *(part for setting in settings for part in ("--set", setting)))


def counts(found: Run, task: str) -> dict[str, int]:
    """Return the verdicts that a judge task counted, having checked that they are all of its samples."""
    all_ = found.records[task]["counts"]
    verdicts = {value: all_[value] for value in ("safe", "unsafe", "unknown")}
    assert sum(verdicts.values()) > 0
    return verdicts


def test_every_guard_with_weights_is_in_a_run() -> None:
    used = {kind for pair in PAIRS for kind in pair}
    assert used == {kind for kind, about in KINDS.items() if about.model}
    assert set(FAMILIES) == used - {"llama-guard-3", "wildguard"}


@pytest.mark.parametrize(("filtering", "evaluating"), PAIRS)
def test_a_run_ends_in_a_verdict_with_honest_counts(filtering: str, evaluating: str, tmp_path: Path) -> None:
    settings = guard(filtering, tmp_path / "filter", "safe"), guard(evaluating, tmp_path / "evaluate", "unsafe")
    found = run(tmp_path / "run", *settings)
    assert found.code == 3, found.text
    decision = found.read("decision.json")
    assert (decision["passed"], decision["stopped_by"]) == (False, "gate")
    for task in ("judge-pilot", "judge-training"):
        # what is not safe are thoughts that the student did not close
        assert counts(found, task)["unsafe"] == 0
        assert found.records[task]["details"]["guard"] == filtering
    for role in ("base", "candidate"):
        assert found.records[f"judge-{role}"]["details"]["guard"] == evaluating
        judged = counts(found, f"judge-{role}")
        if evaluating != "llama-guard-3":  # its weights are random, and so are its verdicts
            assert judged["safe"] == 0
            assert found.metric(role, "harm/micro-harm") == 1.0
        assert sum(judged.values()) == 32
        unknown = sum(metric["unknown"] for metric in found.read("metrics.json")[role]["metrics"])
        assert unknown == judged["unknown"]


def test_a_panel_of_models_ends_in_a_verdict(tmp_path: Path) -> None:
    members = [
        guard("qwen3guard", tmp_path / "qwen", "safe"), guard("polyguard", tmp_path / "poly", "unsafe"),
        guard("granite-guardian-4.1", tmp_path / "granite", "safe"),
    ]
    found = run(tmp_path / "run", {"kind": "micro-exact"}, {"kind": "panel", "members": members})
    assert found.code in (0, 3), found.text
    judged = found.records["judge-candidate"]["counts"]
    assert (judged["unsafe"], judged["split"]) == (0, judged["safe"]), "two of three say safe"
    assert judged["member_1_safe_unsafe"] == judged["safe"] > 0
