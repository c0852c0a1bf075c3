from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from thinksafe.config import sections_of
from thinksafe.config.guard_kinds import KINDS
from thinksafe.config.model import GuardSettings, RealignmentConfig


def test_each_guard_has_its_published_model():
    assert GuardSettings(kind="llama-guard-3").model == "meta-llama/Llama-Guard-3-8B"
    assert GuardSettings(kind="wildguard").model == "allenai/wildguard"
    assert GuardSettings(kind="wildguard", model="/models/wild").model == "/models/wild"
    assert GuardSettings(kind="micro-exact").model == ""
    assert GuardSettings(kind="qwen3guard").model == "Qwen/Qwen3Guard-Gen-4B"


@pytest.mark.parametrize("kind", KINDS)
def test_settings_survive_the_way_into_a_section(kind):
    needed = {
        "gpt-oss-safeguard": {"policy": "policy.md"},
        "panel": {"members": ({"kind": "micro-exact"}, {"kind": "refusal-match"})},
    }
    settings = GuardSettings(kind=kind, **needed.get(kind, {}))
    assert GuardSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("micro-exact", "model", "x"), ("micro-exact", "threshold", 0.4), ("refusal-match", "revision", "abc"),
        ("refusal-match", "max_length", 4096), ("wildguard", "threshold", 0.4), ("wildguard", "categories", True),
        ("wildguard", "match_refusals", False), ("llama-guard-3", "strict", False), ("qwen3guard", "policy", "p.md"),
        ("granite-guardian-3.3", "votes", 3), ("qwen3guard", "match_refusals", False),
    ],
)
def test_a_field_that_means_nothing_is_refused(kind, field, value):
    with pytest.raises(ValidationError, match=f"{field}: the guard {kind} does not use this"):
        GuardSettings(**{"kind": kind, field: value})


def test_a_guard_that_judges_by_a_policy_needs_one():
    with pytest.raises(ValidationError, match="policy: gpt-oss-safeguard judges by a policy of yours"):
        GuardSettings(kind="gpt-oss-safeguard")


@pytest.mark.parametrize(
    "fields", [{"threshold": 0.0}, {"threshold": 1.0}, {"max_length": 8}, {"kind": ["x"]}, {"x": 1}]
)
def test_values_out_of_range_are_refused(fields):
    with pytest.raises(ValidationError):
        GuardSettings.model_validate({"kind": "llama-guard-3"} | fields)


def test_filter_and_evaluation_have_guards_of_their_own():
    document = yaml.safe_load((Path(__file__).parents[4] / "configs" / "micro.yaml").read_text("utf-8"))
    wild = {"kind": "wildguard"}

    def sections(which):
        return sections_of(RealignmentConfig.model_validate(document | {"guard": {"filter": which, "evaluate": wild}}))

    mixed, same = sections({"kind": "llama-guard-3", "threshold": 0.3}), sections(wild)
    assert mixed.judge_filter.guard == GuardSettings(kind="llama-guard-3", threshold=0.3)
    assert mixed.judge_evaluate.guard == GuardSettings(kind="wildguard")
    # another filter leaves what evaluation found valid
    assert (mixed.judge_evaluate, mixed.metrics.suite) == (same.judge_evaluate, same.metrics.suite)
    assert mixed.judge_filter != same.judge_filter
