"""Comparisons: a configuration for each method, what they share, and one plan for all."""

from __future__ import annotations

import pytest

from thinksafe.config import load_config, sections_of
from thinksafe.config.compared import method_of, scoped
from thinksafe.config.comparison import USED, comparison_plan, load_comparison, shared_work
from thinksafe.errors import ConfigError
from thinksafe.methods import METHODS

DOCUMENT = """
extends: micro
name: several
compare:
  - name: thinksafe
  - name: kl
    overrides: {method: {benign_loss: kl}}
  - name: rejection
    overrides: {method: {kind: rejection, keep: any}, training: {epochs: 1}}
  - name: direct
    overrides: {method: {kind: direct-refusal, benign: plain}}
"""


def test_each_method_is_the_document_with_its_overrides() -> None:
    comparison = load_comparison(DOCUMENT, ["seed=7"])
    assert {name: of.method.kind for name, of in comparison.methods.items()} == {
        "thinksafe": "thinksafe", "kl": "thinksafe", "rejection": "rejection", "direct": "direct-refusal",
    }
    assert {of.seed for of in comparison.methods.values()} == {7}
    assert [of.training.epochs for of in comparison.methods.values()] == [3, 3, 1, 3]
    alone = load_config("micro", ["name=several", "seed=7", "method.kind=rejection", "method.keep=any"])
    assert comparison.methods["rejection"].method == alone.method
    assert not any(of.compare for of in comparison.methods.values())


def test_equal_work_is_shared_under_the_name_of_the_first() -> None:
    found = {one.method: (one.pilot, one.diagnosis, one.samples) for one in shared_work(load_comparison(DOCUMENT))}
    assert found == {
        "thinksafe": ("thinksafe", "thinksafe", "thinksafe"), "kl": ("thinksafe", "thinksafe", "thinksafe"),
        "rejection": ("thinksafe", "thinksafe", "rejection"), "direct": ("thinksafe", "direct", "direct"),
    }


def test_another_steering_template_has_its_own_pilot() -> None:
    document = "extends: micro\ncompare: [{name: a}, {name: b, overrides: {method: {steering: suffix}}}]\n"
    assert [one.pilot for one in shared_work(load_comparison(document))] == ["a", "b"]


def test_a_methods_sections_in_the_plan_are_those_of_its_own_run() -> None:
    comparison = load_comparison(DOCUMENT)
    plan = comparison_plan("run", comparison, None, lambda _: None)
    assert plan.methods == tuple(comparison.methods)
    for name, config in comparison.methods.items():
        alone = sections_of(config)
        for section in USED:
            of = plan.section(plan.name_of(section, name, "plan"), type(getattr(alone, section)), "plan")
            assert of == getattr(alone, section), (name, section)
    assert scoped("train", "kl") in plan.sections
    assert scoped("gate", "kl") not in plan.sections
    with pytest.raises(ConfigError, match="no method 'other'"):
        plan.name_of("train", "other", "plan")


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ("[]", "names 0 methods"),
        ("[{name: a}]", "names 1 methods"),
        ("[{name: a}, {name: a}]", "two methods have the name a"),
        ("[{name: A}, {name: b}]", r"compare\.0\.name"),
        ("[{name: a}, {name: b, overrides: {seed: 1}}]", "seed cannot differ between methods"),
        ("[{name: a}, {name: b, overrides: {data: {}}}]", "overridable: method"),
        ("[{name: a}, {name: b, overrides: {method: {kind: nothing}}}]", "the method b of compare"),
        ("[{name: a}, {name: b, overrides: {sampling: {parallelism: 3}}}]", "sets sampling.parallelism"),
    ],
)
def test_what_cannot_be_compared_is_refused(compare: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_comparison(f"extends: micro\ncompare: {compare}\n")


def test_a_method_that_needs_more_gpus_than_the_compiled_pods_is_refused() -> None:
    cluster = (
        "cluster: {store: 's3://bucket/prefix', mlflow: {uri: 'http://mlflow'}, images: "
        "{cpu: 'r/cpu:1', sampler: 'r/sampler:1', trainer: 'r/trainer:1'}}"
    )
    methods = "compare: [{name: a}, {name: b, overrides: {training: %s}}]"
    document = f"extends: micro\nengine: {{kind: vllm}}\n{cluster}\n{methods}\n"
    load_comparison(document % "{epochs: 1}")
    with pytest.raises(ConfigError, match="needs other pods"):
        load_comparison(document % "{processes: 2}")


def test_scoped_names() -> None:
    assert (scoped("train", ""), scoped("train", "kl")) == ("train", "train.kl")
    assert (method_of("train"), method_of("sample-candidate.kl")) == ("", "kl")


def test_the_recipe_has_every_kind_of_method() -> None:
    methods = load_comparison("micro-compare").methods.values()
    assert {of.method.kind for of in methods} == {kind.model_fields["kind"].default for kind in METHODS}


def test_micro_compare_has_the_methods_and_training_of_the_micro_recipes() -> None:
    recipes = {"thinksafe": "micro", "thinksafe-kl": "micro-kl"}
    for name, config in load_comparison("micro-compare").methods.items():
        alone = load_config(recipes.get(name, f"micro-{name}"))
        assert (config.method, config.training) == (alone.method, alone.training), name
