"""Overrides reach every place; another kind of method or guard leaves behind what is not for it."""

from __future__ import annotations

from typing import Any

import pytest
from config_texts import MICRO, complaint

from thinksafe.config import load_config
from thinksafe.config.guard import GuardSettings, SecondGuardSettings
from thinksafe.methods.rejection import Rejection


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("seed = 7", ("seed",), 7),
        ("training.learning_rate=1e-5", ("training", "learning_rate"), 1e-5),
        ("training.target_modules=[a, b]", ("training", "target_modules"), ("a", "b")),
        ("training.target_modules=[]", ("training", "target_modules"), ()),
        ("data.harmful.0.prompts.count=3", ("data", "harmful", 0, "prompts", "count"), 3),
        ("data.harmful.0.prompts={source: jsonl, path: 'a=b'}", ("data", "harmful", 0, "prompts", "path"), "a=b"),
        ("evaluation.benchmarks.1.name=other", ("evaluation", "benchmarks", 1, "name"), "other"),
        ("report.reveal_harmful=true", ("report", "reveal_harmful"), True),
        ("gate.harm.max=0", ("gate", "harm", "max"), 0.0),
        ("registry.tracking_uri=http://host:5000/?a=b", ("registry", "tracking_uri"), "http://host:5000/?a=b"),
        ("registry.tracking_uri=''", ("registry", "tracking_uri"), ""),
    ],
)
def test_override(override: str, path: tuple[str | int, ...], value: Any) -> None:
    at: Any = load_config("micro", [override])
    for part in path:
        at = at[part] if isinstance(part, int) else getattr(at, part)
    assert at == value


def test_overrides_apply_in_order() -> None:
    assert load_config("micro", ["seed=1", "seed=2"]).seed == 2
    assert load_config("micro", ["training={epochs: 9, batch_size: 8}", "training.epochs=5"]).training.epochs == 5


def test_an_override_changes_one_place_of_an_alias() -> None:
    text = MICRO.replace("filter: {kind: micro-exact}", "filter: &g {kind: micro-exact}").replace(
        "evaluate: {kind: micro-exact}", "evaluate: *g"
    )
    config = load_config(text, ["guard.evaluate.kind=refusal-match"])
    assert (config.guard.filter.kind, config.guard.evaluate.kind) == ("micro-exact", "refusal-match")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("seed", "not of the form key=value"),
        ("=3", "not of the form key=value"),
        ("seed=[1", "the override of seed, line 1: not valid YAML"),
        ("seed=2024-13-45", "seed: Input should be a valid integer, not '2024-13-45'"),
        ("seed={a: 1, a: 2}", "the key 'a' repeats"),
        ("seed=!!python/name:os.system", "not valid YAML"),
        ("seed=" + "[" * 400, "not valid YAML"),
        ("seed.x=1", "goes through 'seed', which is a single value"),
        ("data.harmful.5.name=x", "'data.harmful.5' needs an index from 0 to 0"),
        ("data.harmful.first.name=x", "'data.harmful.first' needs an index from 0 to 0"),
        ("data.harmful.-1.name=x", "needs an index from 0 to 0"),
        ("data.harmful.1=x", "needs an index from 0 to 0"),
    ],
)
def test_bad_override(override: str, problem: str) -> None:
    assert problem in complaint("micro", override)


def test_an_override_through_a_list_of_values() -> None:
    text = MICRO.replace("training:\n", "training:\n  target_modules: [q_proj]\n")
    found = complaint(text, "training.target_modules.0.x=1")
    assert "goes through 'training.target_modules.0', which is a single value" in found
    assert load_config(text, ["training.target_modules.0=k_proj"]).training.target_modules == ("k_proj",)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("extends: smollm2\nmethod: {kind: rejection}\n", []),
        ("extends: smollm2\nmethod: {steering: prefix, benign_loss: kl}\n", ["method.kind=rejection"]),
        ("extends: micro-kl\n", ["method.steering=prefix", "method.kind=rejection"]),
    ],
)
def test_another_method_leaves_options_behind_that_it_does_not_have(text: str, overrides: list[str]) -> None:
    kept = "kl" if "kl" in text else "cross-entropy"
    assert load_config(text, overrides).method == Rejection(benign_loss=kept)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("extends: qwen3-0.6b\nname: mine\n", ["guard.evaluate.kind=wildguard"]),
        ("extends: qwen3-0.6b\nname: mine\nguard: {evaluate: {kind: wildguard}}\n", []),
        ("extends: qwen3-0.6b\n", ["guard.evaluate.strict=false", "guard.evaluate.kind=wildguard"]),
    ],
)
def test_another_guard_has_its_own_model_and_runs_as_the_old_one(text: str, overrides: list[str]) -> None:
    guard = load_config(text, overrides).guard
    assert guard.evaluate == GuardSettings(kind="wildguard", backend="vllm")
    assert guard.filter == load_config("qwen3-0.6b").guard.filter


def test_what_is_set_for_another_guard_stays_in_any_order() -> None:
    pair = ["guard.evaluate.model=/models/wild", "guard.evaluate.kind=wildguard"]
    one, two = (load_config("qwen3-0.6b", order).guard.evaluate for order in (pair, pair[::-1]))
    assert one == two == GuardSettings(kind="wildguard", model="/models/wild", backend="vllm")


def test_the_same_kind_again_changes_nothing() -> None:
    assert load_config("qwen3-0.6b", ["guard.evaluate.kind=qwen3guard"]) == load_config("qwen3-0.6b")


def test_another_guard_of_a_panel_or_beside_the_first_has_its_own_model() -> None:
    panel = "guard.evaluate={kind: panel, members: [{kind: qwen3guard, revision: abc}, {kind: wildguard}]}"
    found = load_config("micro", [panel, "guard.evaluate.members.0.kind=llama-guard-3"]).guard.evaluate.members
    assert found == (GuardSettings(kind="llama-guard-3"), GuardSettings(kind="wildguard"))
    second = "guard.second={kind: qwen3guard, model: /models/q, every_n: 3}"
    changed = load_config("micro", [second, "guard.second.kind=wildguard"]).guard.second
    assert changed == SecondGuardSettings(kind="wildguard", every_n=3)
    problem = complaint("micro", "guard.evaluate={kind: qwen3guard, revision: abc}", "guard.evaluate.kind=panel")
    assert "members: a panel has two guards or more" in problem


def test_another_method_hides_no_mistake() -> None:
    assert "method.sterring" in complaint("extends: micro\nmethod: {sterring: thinksafe}\n", "method.kind=rejection")
    assert "method.steering" in complaint("extends: micro\nmethod: {kind: rejection, steering: prefix}\n")
