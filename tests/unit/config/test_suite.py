"""Suites: documents of their own, or the evaluation of a recipe."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thinksafe.config import load_config, load_suite, recipe_names, sections_of, suite_sections
from thinksafe.errors import ConfigError
from thinksafe_pipelines.kfp.snapshot import CLUSTERS

DOCUMENT: dict[str, Any] = {
    "name": "mine",
    "guard": {"evaluate": {"kind": "refusal-match"}},
    "evaluation": {
        "benchmarks": [{"name": "sums", "metric": "reasoning", "prompts": {"source": "jsonl", "path": "sums.jsonl"}}]
    },
}


def test_a_suite_needs_no_training_and_no_filter() -> None:
    suite = load_suite(json.dumps(DOCUMENT), ["seed=3"])
    assert (suite.seed, suite.guard.filter, suite.student, suite.registry) == (3, suite.guard.evaluate, None, None)
    sections = suite_sections(suite, "none")
    assert sections.prepare.data is None
    assert sections.monitor.kinds == ("reasoning",)


def test_a_suite_is_checked_like_a_recipe() -> None:
    with pytest.raises(ConfigError, match=r"evaluation.bench \(line 1\): unknown key; did you mean 'benchmarks'"):
        load_suite(json.dumps({**DOCUMENT, "evaluation": {"bench": []}}))
    with pytest.raises(ConfigError, match=r"steering \(line 1\): unknown key"):
        load_suite(json.dumps({**DOCUMENT, "steering": {}}))


def test_a_schedule_measures_a_champion_that_is_known() -> None:
    section = {**CLUSTERS["plain"], "schedule": {"evaluate": {"enabled": True}}}
    with pytest.raises(ConfigError, match=r"registry\.model is not set"):
        load_suite(json.dumps({**DOCUMENT, "cluster": section}))
    suite = load_suite(json.dumps({**DOCUMENT, "cluster": section, "registry": {"model": "ours"}}))
    assert suite.cluster is not None
    assert suite.cluster.schedule.evaluate.enabled


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_measured_as_its_own_gate_measures(name: str) -> None:
    """The same samples, kept once: base results are not drawn again by an evaluation of the same student."""
    config = load_config(name)
    recipe, suite = sections_of(config), suite_sections(load_suite(name), config.student.reasoning)
    assert suite.sample_evaluation == recipe.sample_evaluation
    assert suite.judge_evaluate == recipe.judge_evaluate
    assert (suite.metrics, suite.grade) == (recipe.metrics, recipe.grade)
    assert suite.prepare.seed == recipe.prepare.seed


def test_a_fresh_draw_changes_the_seed_and_nothing_that_is_compared() -> None:
    suite = load_suite("micro")
    plain, fresh = suite_sections(suite, "think"), suite_sections(suite, "think", "run-7")
    assert plain.sample_evaluation.seed != fresh.sample_evaluation.seed
    assert plain.metrics == fresh.metrics
    assert plain.sample_evaluation.model_copy(update={"seed": 0}) == fresh.sample_evaluation.model_copy(
        update={"seed": 0}
    )


def test_a_benchmark_that_is_reported_only_is_measured_and_not_checked() -> None:
    prompts = {"source": "jsonl", "path": "sums.jsonl"}
    sums, more = ({"name": name, "metric": "reasoning", "prompts": prompts} for name in "ab")
    both = {**DOCUMENT, "evaluation": {"benchmarks": [sums, {**more, "gated": False}]}}
    sections = suite_sections(load_suite(json.dumps(both)), "none")
    assert [benchmark.name for benchmark in sections.metrics.benchmarks] == ["a", "b"]
    assert (sections.monitor.reasoning_benchmarks, sections.monitor.report_only) == (("a",), ("b",))
    gated = {**DOCUMENT, "evaluation": {"benchmarks": [sums, more]}}
    assert suite_sections(load_suite(json.dumps(gated)), "none").metrics.suite == sections.metrics.suite

    with pytest.raises(ConfigError, match=r"at least one must be checked"):
        load_suite(json.dumps({**DOCUMENT, "evaluation": {"benchmarks": [{**sums, "gated": False}]}}))
    with pytest.raises(ConfigError, match=r"no gated benchmark for reasoning"):
        load_config("micro", ["evaluation.benchmarks.2.gated=false"])
