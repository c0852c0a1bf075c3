"""Configurations whose training samples the responses itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cluster_configs import cluster_document

from thinksafe.config import load_config, sections_of
from thinksafe.deciding.feasibility import findings_on
from thinksafe.errors import ConfigError

GUARDS = {
    "filter": {"kind": "granite-guardian-3.3", "backend": "vllm"},
    "evaluate": {"kind": "qwen3guard", "backend": "vllm"},
    "reward": {"kind": "granite-guardian-3.3"},
}


def overrides(**changes: Any) -> list[str]:
    values: dict[str, Any] = {"method": {"kind": "grpo", "max_tokens": 48}, "guard": GUARDS} | changes
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def guards(**changes: Any) -> dict[str, Any]:
    return {name: of for name, of in (GUARDS | changes).items() if of is not None}


def test_the_reward_has_a_guard_of_its_own_or_that_of_the_filter() -> None:
    found = sections_of(load_config("micro", overrides())).train.guard
    assert found is not None
    assert (found.kind, found.backend) == ("granite-guardian-3.3", "transformers")
    filtering = {"kind": "llama-guard-3"}
    own = sections_of(load_config("micro", overrides(guard=guards(filter=filtering, reward=None)))).train.guard
    assert own is not None
    assert own.kind == "llama-guard-3"
    assert sections_of(load_config("micro")).train.guard is None


@pytest.mark.parametrize(
    ("reward", "evaluate", "words"),
    [
        ({"kind": "qwen3guard"}, GUARDS["evaluate"], r"guard\.reward also evaluates"),
        ({"kind": "qwen3guard", "revision": "c" * 40}, GUARDS["evaluate"], r"guard\.reward also evaluates"),
        (None, GUARDS["filter"], r"guard\.filter, which gives the reward, also evaluates"),
        (
            {"kind": "qwen3guard"}, {"kind": "panel", "members": [{"kind": "qwen3guard"}, {"kind": "wildguard"}]},
            r"guard\.reward also evaluates",
        ),
        ({"kind": "refusal-match"}, {"kind": "refusal-match"}, r"guard\.reward also evaluates"),
        (GUARDS["filter"], GUARDS["evaluate"], r"guard\.reward has backend: vllm"),
        ({"kind": "llama-guard-3", "match_refusals": False}, GUARDS["evaluate"], r"does not tell whether a text decl"),
    ],
)
def test_a_reward_that_cannot_be_trusted_is_refused(reward: Any, evaluate: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config("micro", overrides(guard=guards(reward=reward, evaluate=evaluate)))


def test_the_exact_guard_of_the_micro_world_may_do_both() -> None:
    guard = sections_of(load_config("micro", ["method.kind=grpo", "method.max_tokens=48"])).train.guard
    assert guard is not None
    assert guard.kind == "micro-exact"


def test_a_reward_guard_without_use_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method\.kind thinksafe has no rewards"):
        load_config("micro", overrides(method={"kind": "thinksafe"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training.batch_size": 12, "training.micro_batch_size": 4}, "counts responses and must be a multiple"),
        ({"training.max_length": 48}, "leaves no room for a prompt"),
        ({"training.strategy": "fsdp", "training.processes": 2}, r"trains whole students only"),
        ({"method": {"kind": "grpo", "rollouts": 1}}, r"method\.(grpo\.)?rollouts"),
    ],
)
def test_a_training_that_cannot_sample_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config("micro", overrides(**changes))


def test_a_reward_without_help_says_what_to_expect() -> None:
    def said(*more: str) -> list[str]:
        found = findings_on(load_config("micro", ["method.kind=grpo", "method.max_tokens=48", *more]))
        return [finding.message for finding in found if finding.check == "method"]

    assert "nothing rewards help" in said('method.reward.benign="none"')[0]
    assert said() == []


def test_training_that_samples_runs_in_the_image_with_vllm() -> None:
    document = cluster_document(images={"cpu": "r/cpu:1", "sampler": "r/sampler:1", "trainer": "r/trainer:1"})
    plain = load_config(document).cluster
    sampling = load_config(document, ["method.kind=grpo", "method.max_tokens=48"]).cluster
    assert plain is not None
    assert sampling is not None
    assert (plain.image("train"), sampling.image("train")) == ("r/trainer:1", "r/sampler:1")


def test_a_teacher_that_is_imitated_is_in_the_section_of_train() -> None:
    teacher = {"model": "micro://no-latent-safety", "dtype": "float32"}
    given = [f"method={json.dumps({'kind': 'on-policy-distillation', 'teacher': teacher, 'max_tokens': 48})}"]
    sections = sections_of(load_config("micro", given))
    assert sections.sample_training.teacher is None
    assert sections.train.teacher is not None
    assert sections.train.teacher.student.model == "micro://no-latent-safety"
    with pytest.raises(ConfigError, match=r"method\.teacher\.reasoning is 'none'"):
        load_config("micro", [*given, 'method.teacher.reasoning="none"'])
