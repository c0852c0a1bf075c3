"""The contract of methods: a new one is covered by being in the tuple."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from thinksafe.config import RealignmentConfig, load_config, sections_of
from thinksafe.config.load import canonical, config_schema
from thinksafe.config.sections import TeacherSection
from thinksafe.deciding.feasibility import findings_on
from thinksafe.digests import canonical_json
from thinksafe.errors import ConfigError
from thinksafe.methods import METHODS, Method
from thinksafe.methods.objectives import OnPolicy
from thinksafe.methods.rules import RULES
from thinksafe.records import Arm
from thinksafe.training.objectives import MODULES

DOCS = Path(__file__).parents[3] / "docs" / "methods.md"


def kind_of(method: type[Method]) -> str:
    return str(method.model_fields["kind"].default)


NEEDED: dict[str, dict[str, Any]] = {
    "teacher": {"teacher": {"model": "micro://default"}}, "grpo": {"max_tokens": 48},
    "on-policy-distillation": {"teacher": {"model": "micro://default"}, "max_tokens": 48},
    "self-distillation": {"max_tokens": 48},
}
"""Options without a default, or whose default does not fit the micro world, by kind."""
RECIPE = {"given": "micro-given", "safekey": "micro-given"}
"""A recipe whose data a kind needs."""


def example(method: type[Method]) -> Method:
    """Return a method with its defaults."""
    return method.model_validate(NEEDED.get(kind_of(method), {}))


def asked(method: type[Method]) -> list[str]:
    """Return the overrides that choose it."""
    needed = NEEDED.get(kind_of(method), {})
    return [f"method.kind={kind_of(method)}", *(f"method.{key}={canonical_json(of)}" for key, of in needed.items())]


def configured(method: type[Method], *overrides: str) -> RealignmentConfig:
    """Return a micro recipe with the method."""
    return load_config(RECIPE.get(kind_of(method), "micro"), [*asked(method), *overrides])


every_method = pytest.mark.parametrize("method", METHODS, ids=kind_of)


def test_kinds_are_unique_and_the_schema_has_them() -> None:
    kinds = [kind_of(method) for method in METHODS]
    assert len(set(kinds)) == len(kinds)
    assert set(config_schema()["properties"]["method"]["discriminator"]["mapping"]) == set(kinds)


@every_method
def test_a_configuration_survives_as_json(method: type[Method]) -> None:
    config = configured(method)
    assert config.method == example(method)
    assert RealignmentConfig.model_validate(canonical(config)) == config


@every_method
def test_the_pipeline_knows_what_it_answers(method: type[Method]) -> None:
    of = example(method)
    for responses in (of.responses(), of.pilot()):
        assert {arm for arms in responses.arms.values() for arm in arms} <= set(get_args(Arm))
        assert bool(responses.template) == any("steered" in arms for arms in responses.arms.values())
        assert bool(responses.written) == any("template" in arms for arms in responses.arms.values())
    assert of.responses().arms.keys() == of.rules().keys() == of.forms().keys() == {"harmful", "benign"}
    assert set(of.responses().labels) == {label for label, arms in of.responses().arms.items() if arms}
    assert of.pilot().arms["harmful"][0] == "plain", "what the tried arm is compared with"
    assert {rule for rules in of.rules().values() for rule in rules} <= set(RULES)
    assert of.minimises().kind in MODULES
    unanswered = {label for label, arms in of.responses().arms.items() if "rollout" in arms}
    assert unanswered == ({"harmful", "benign"} if isinstance(of.minimises(), OnPolicy) else set())
    assert of.other() == (getattr(of, "teacher", None))


@every_method
def test_sections_hold_its_answers_and_its_name(method: type[Method]) -> None:
    sections = sections_of(configured(method))
    of = example(method)
    assert sections.sample_training.arms == of.responses().arms
    teacher = sections.sample_training.teacher
    assert (teacher and teacher.student) == of.responses().teacher
    assert sections.sample_pilot.teacher is None
    assert sections.sample_evaluation.teacher is None
    assert sections.sample_training.written == of.responses().written
    assert sections.sample_training.n == type(of).samples
    assert sections_of(configured(method, "sampling.n=3")).sample_training.n == 3
    assert sections.curate.rules == of.rules()
    assert (sections.curate.keep, sections.curate.forms) == (of.keeps(), of.forms())
    assert sections.diagnose.diagnose.on_failure == ("stop" if of.needs_latent_safety else "warn")
    assert sections.train.objective == of.minimises()
    imitated = sections.train.teacher
    assert (teacher or imitated) == (of.other() and TeacherSection(student=of.other()))
    assert sections.report.method == kind_of(method)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("direct-refusal", "refusal=No."), ("direct-refusal", "refusal=<think>No."),
        ("direct-refusal", "refusal=No.</think>No."), ("direct-refusal", "refusal=<think>No.</think> "),
        ("safekey", ""), ("safepath", ""), ("safepath", "opening=Safety first."),
        ("safepath", "opening=<think>Safe?</think>"),
    ],
)
def test_a_response_of_another_form_than_the_students_is_refused(kind: str, wrong: str) -> None:
    option = [f"method.{wrong}"] if wrong else ["student.reasoning=none", "evaluation.parts=[whole]"]
    with pytest.raises(ConfigError, match=r"method\.(kind is|refusal|opening)"):
        load_config("micro", [f"method.kind={kind}", *option])


def test_retries_follow_the_rules_of_curation_and_need_something_to_strengthen() -> None:
    sections = sections_of(load_config("micro-retries", ["curate.require_refusal=false", "method.steering=risk"]))
    retries = sections.sample_training.retries
    assert retries is not None
    assert (retries.templates, retries.rules) == (("prefix", "suffix"), ("complete", "safe"))
    assert retries.judge == sections.judge_filter
    others = (sections.sample_pilot, sections.sample_evaluation, sections.sample_rollout)
    assert [of.retries for of in others] == [None] * 3
    for method in ("rejection", "direct-refusal"):
        with pytest.raises(ConfigError, match=rf"sampling\.retries is 2, but method\.kind {method} steers no prompt"):
            load_config("micro-retries", [f"method.kind={method}"])


def test_a_method_that_trains_whole_students_refuses_to_shard_them() -> None:
    with pytest.raises(ConfigError, match=r"safekey, which trains whole students only; set training\.strategy: ddp"):
        load_config("micro-safekey", ["training.strategy=fsdp"])


def test_given_responses_need_a_field_of_theirs() -> None:
    with pytest.raises(ConfigError, match=r"sets of data.harmful name no response: micro-harmful"):
        load_config("micro", ["method.kind=given"])


def test_a_method_without_benign_rows_says_what_to_expect() -> None:
    def said(*overrides: str) -> list[str]:
        findings = findings_on(load_config("micro", ["method.kind=direct-refusal", *overrides]))
        return [finding.message for finding in findings if finding.check == "method"]

    assert "83.6 %" in said()[0]
    assert said("method.benign=plain") == []


@every_method
def test_the_docs_have_its_row_and_every_option(method: type[Method]) -> None:
    text = " ".join(DOCS.read_text("utf-8").split())
    assert f"| `{kind_of(method)}` | {method.summary} |" in text
    for name, field in method.model_fields.items():
        if name != "kind":
            assert field.description, name
            default = "required" if field.is_required() else canonical_json(field.default).strip('"')
            assert f"| `{kind_of(method)}` | `{name}` | `{default}` | {' '.join(field.description.split())} |" in text
