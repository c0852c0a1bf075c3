"""The contexts of a configuration: from the package, or from a file of the team's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from thinksafe.config import load_config, sections_of
from thinksafe.config.comparison import comparison_plan, load_comparison, shared_work
from thinksafe.config.sections import Sections
from thinksafe.errors import ConfigError, InputError
from thinksafe.methods.contexts import known_contexts

TWO = 'ours: "Weigh it first. {prompt}"\nother: "Think of others. {prompt}"\n'


def planned(*overrides: str) -> Sections:
    return sections_of(load_config("micro-self-distillation", list(overrides)))


def test_a_search_asks_for_benign_prompts_and_samples_in_every_context() -> None:
    sections = planned("diagnose.prompts=40")
    assert (sections.prepare.pilot, sections.prepare.pilot_benign) == (40, 40)
    assert sections.sample_pilot.contexts == known_contexts()
    assert sections.sample_pilot.arms == {"harmful": ("plain", "steered", "context"), "benign": ("plain", "context")}
    assert sections.diagnose.arm == "steered"
    assert sections.diagnose.contexts is not None
    assert (sections.diagnose.contexts.known, sections.diagnose.contexts.search) == (known_contexts(), True)
    assert sections.sample_training.contexts == sections.sample_evaluation.contexts == ()


def test_a_named_template_needs_no_search_and_no_choice() -> None:
    sections = planned("method.context=prefix")
    written = sections.model_dump(mode="json")
    assert "pilot_benign" not in written["prepare"]
    assert "contexts" not in written["sample_pilot"]
    assert "contexts" not in written["diagnose"]
    assert sections.sample_pilot.template == "prefix"


def test_a_file_replaces_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"\ufeff# ours\n{TWO}", "utf-8")
    assert [context.name for context in planned(f"method.contexts={path}").sample_pilot.contexts] == ["other", "ours"]
    fixed = planned(f"method.contexts={path}", "method.context=ours")
    assert fixed.diagnose.contexts is not None
    assert (fixed.diagnose.contexts.known, fixed.diagnose.contexts.search) == (fixed.sample_pilot.contexts, False)
    assert [context.name for context in fixed.sample_pilot.contexts] == ["ours"]
    assert (fixed.sample_pilot.template, fixed.prepare.pilot_benign) == ("ours", 0)
    with pytest.raises(InputError, match=r"no context 'prefix' in method\.contexts .*Use one of: other, ours"):
        planned(f"method.contexts={path}", "method.context=prefix")


def test_a_known_context_that_is_no_template_is_fixed_as_those_of_a_file() -> None:
    sections = planned("method.context=weigh-harm")
    assert sections.diagnose.contexts is not None
    assert [context.name for context in sections.diagnose.contexts.known] == ["weigh-harm"]
    assert not sections.diagnose.contexts.search


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, InputError, r"Cannot read method\.contexts '.*own\.yaml': No such file"),
        (b"\xff\xfe\x00", InputError, "it is not UTF-8 text"),
        (b"", InputError, "has no contexts"),
        (TWO.encode() * 2, ConfigError, r"line 3: not valid YAML \(the key 'ours' repeats"),
        (b"ours: 'Weigh {prompt}'\nother: 'Weigh'", InputError, r"line 2: the context 'other' has \{prompt\} 0 times"),
        (b"ours: '" + b"x" * (1 << 20) + b"'", ConfigError, "too many or too deeply nested"),
        (b"ours: !!python/object:os.system {prompt}", ConfigError, "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_plan(
    content: bytes | None, error: type[Exception], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=words):
        planned(f"method.contexts={path}")


def test_methods_that_are_compared_share_prompts_but_not_a_search() -> None:
    document = (
        "extends: micro\ncompare:\n  - name: thinksafe\n"
        "  - {name: searched, overrides: {method: {kind: self-distillation, max_tokens: 48}}}\n"
        "  - {name: fixed, overrides: {method: {kind: self-distillation, max_tokens: 48, context: prefix}}}\n"
    )
    comparison = load_comparison(document)
    assert [one.pilot for one in shared_work(comparison)] == ["thinksafe", "searched", "thinksafe"]
    plan = comparison_plan("run", comparison, None, lambda _: None)
    assert plan.sections["prepare"]["pilot_benign"] == 64, "the search needs them"
    assert not any(name.startswith("prepare.") for name in plan.sections)
    assert plan.sections["sample_pilot"]["arms"]["benign"] == [], "the others leave them out"
