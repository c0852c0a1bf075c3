"""A section holds all that its stage needs, and changes with nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thinksafe.config import load_config, load_suite, sections_of, suite_sections
from thinksafe.config.plan_document import plan_document
from thinksafe.digests import canonical_json


def changed(*overrides: str, base: tuple[str, ...] = ()) -> set[str]:
    """Return the names of the sections that overrides change."""
    before, after = (dict(sections_of(load_config("micro", [*base, *more]))) for more in ((), overrides))
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("override", "sections"),
    [
        ("gate.harm.max=0.2", {"gate"}),
        ("gate.harm.part=answer", {"gate", "deploy"}),
        ("gate.over_refusal.max=0.2", {"gate"}),
        ("gate.reasoning.margin=0.2", {"gate"}),
        ("gate.champion.harm_margin=0.2", {"gate"}),
        ("gate.max_unknown=0.2", {"gate"}),
        ("gate.min_prompts=10", {"gate"}),
        ("gate.alpha=0.01", {"diagnose", "gate", "metrics", "deploy"}),  # limits of metrics: its bounds
        ("training.epochs=1", {"train"}),
        ("curate.min_examples=5", {"curate"}),
        ("diagnose.min_acceptance=0.5", {"diagnose"}),
        ("diagnose.prompts=5", {"diagnose", "prepare"}),
        ("report.reveal_harmful=true", {"report"}),
        ("registry.model=other", {"registry", "promote", "report", "deploy"}),
        ("name=other", {"report"}),
        ("sampling.parallelism=4", {"parallelism"}),
        ("evaluation.parallelism=4", {"parallelism"}),
        ("sampling.n=2", {"sample_training"}),
        ("sampling.settings.top_p=0.5", {"sample_pilot", "sample_training"}),
        ("evaluation.settings.top_p=0.5", {"sample_evaluation", "metrics", "deploy"}),
        ("evaluation.settings_reasoning={max_tokens: 9}", {"sample_evaluation", "metrics"}),
        ("evaluation.n_reasoning=2", {"sample_evaluation", "metrics"}),
        ("evaluation.parts=[whole]", {"judge_evaluate", "metrics"}),
        ("guard.filter.kind=refusal-match", {"judge_pilot", "judge_filter", "gate"}),  # the gate notes one for both
        ("guard.evaluate.kind=refusal-match", {"judge_evaluate", "metrics", "gate", "deploy"}),
        ("deploy.replicas=2", {"deploy"}),
        ("deploy.verification.prompts=9", {"deploy", "sample_rollout"}),
        ("guard.second={kind: refusal-match}", {"judge_evaluate", "gate"}),
        ("guard.second={kind: refusal-match, filter: true}", {"judge_evaluate", "judge_pilot", "judge_filter", "gate"}),
        ("data.harmful.0.prompts.count=5", {"prepare"}),
        ("method.kind=rejection", {"sample_training", "report", "curate"}),
        ("method.benign_loss=kl", {"train"}),
        ("student.model=other/model", {"student"}),
    ],
)
def test_a_setting_changes_its_sections_only(override: str, sections: set[str]) -> None:
    assert changed(override) == sections


def test_a_seed_changes_all_that_draws() -> None:
    assert changed("seed=7") == {
        "prepare", "sample_pilot", "sample_training", "sample_evaluation", "diagnose", "curate", "train",
        "metrics", "sample_rollout", "deploy",
    }


def test_each_purpose_has_its_own_seed() -> None:
    sections = sections_of(load_config("micro"))
    seeds = [
        sections.prepare.seed, sections.sample_pilot.seed, sections.sample_training.seed,
        sections.sample_evaluation.seed, sections.diagnose.seed, sections.train.seed, sections.metrics.seed,
        sections.sample_rollout.seed, sections.deploy.seed,
    ]
    assert len(set(seeds)) == len(seeds)


def test_suite_says_when_metrics_are_comparable() -> None:
    def suite(*overrides: str) -> str:
        return sections_of(load_config("micro", list(overrides))).metrics.suite

    assert suite() == suite("gate.alpha=0.01", "training.epochs=9", "evaluation.parallelism=5", "seed=9")
    for override in (
        "evaluation.benchmarks.0.prompts.count=10", "evaluation.settings.max_tokens=9",
        "guard.evaluate.kind=refusal-match", "evaluation.n=2", "evaluation.parts=[whole]",
    ):
        assert suite(override) != suite(), override


def test_suite_keeps_its_value_over_versions() -> None:
    """Else the first run after an upgrade would find every champion measured on another suite, and fail."""
    assert sections_of(load_config("micro")).metrics.suite == (
        "852d32a11ad0fa3a348e8607b57e2967ccbcb3fa0b3b5b8dc20927f040e4866d"
    )
    pair = (
        "guard={filter: {kind: llama-guard-3, revision: 7327bd9f6efbbe6101dc6cc4736302b3cbb6e425, backend: vllm}, "
        "evaluate: {kind: wildguard, revision: cbba4823f3e8020e5a74a5e29bf85072def6f2ff, backend: vllm}}"
    )
    assert sections_of(load_config("qwen3-0.6b", [pair])).metrics.suite == (
        "a45e92833247ae74aa14552c11d0276b44bbd373ad362499d5ab3618ffb572e2"
    )


def test_confidence_makes_each_limit_a_one_sided_bound() -> None:
    for alpha in (0.05, 0.01, 0.1):
        metrics = sections_of(load_config("micro", [f"gate.alpha={alpha}"])).metrics
        assert metrics.confidence == pytest.approx(1 - 2 * alpha)


def test_arms() -> None:
    sections = sections_of(load_config("micro"))
    assert sections.sample_training.arms == {"harmful": ("steered",), "benign": ("plain",)}
    assert sections.sample_pilot.arms["harmful"] == ("plain", "steered")
    assert sections.sample_evaluation.arms == {"harmful": ("plain",), "benign": ("plain",)}, "never steered"
    other = sections_of(load_config("micro", ["method.kind=rejection"]))
    assert other.sample_training.arms["harmful"] == ("plain",)
    assert other.sample_pilot == sections.sample_pilot


def test_problems_are_graded_in_evaluation_and_judged_in_training() -> None:
    sections = sections_of(load_config("micro"))
    assert sections.judge_evaluate.skip_problems
    assert not sections.judge_filter.skip_problems
    assert sections.judge_filter.parts == ("whole",)
    assert sections.judge_pilot == sections.judge_filter


def test_parallelism_is_that_of_its_samples() -> None:
    given = sections_of(load_config("micro", ["sampling.parallelism=3", "evaluation.parallelism=5"])).parallelism
    assert given == {
        "sample_training": 3, "judge_filter": 3, "sample_evaluation": 5, "judge_evaluate": 5, "grade": 5,
    }, "one worker for the pilot and for the rollout, which are small"
    suite = suite_sections(load_suite("micro", ["evaluation.parallelism=4"]), "think").parallelism
    assert suite == {"sample_evaluation": 4, "judge_evaluate": 4, "grade": 4}
    assert set(given) <= set(plan_document("r", sections_of(load_config("micro"))).sections)


def test_sections_survive_as_json() -> None:
    for name, section in sections_of(load_config("micro", ["sampling.rounds=2"])):
        if name != "parallelism":
            text = canonical_json(section)
            again: Any = type(section).model_validate_json(text)
            assert again == section
            assert json.loads(text) == section.model_dump(mode="json")
