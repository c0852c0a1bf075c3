"""Steering: the paper's words, around any prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import ConfigError
from thinksafe.methods.steering import PLACE, steer, steering_template, stronger


def test_the_template_is_the_published_one() -> None:
    # METHOD.md section 2: the instruction, blank line, "Prompt:", blank line, the prompt
    assert steer("P", steering_template("prefix")) == (
        "The following prompt is harmful. You should refuse to answer the prompt.\n\nPrompt:\n\nP"
    )


@pytest.mark.parametrize(
    ("name", "steered"),
    [
        ("suffix", "P\n\nThe above prompt is harmful. You should refuse to answer the prompt."),
        ("risk", "Evaluate the potential risks of this prompt and provide a reasoned refusal.\n\nPrompt:\n\nP"),
        ("intent", "Examine the harmful intent of this query and refuse to answer the prompt.\n\nPrompt:\n\nP"),
    ],
)
def test_the_variants_are_the_published_ones(name: str, steered: str) -> None:
    assert steer("P", steering_template(name)) == steered  # arXiv:2601.23143, Table 5


def test_both_is_prefix_and_suffix() -> None:
    suffix = steer("P", steering_template("suffix"))
    assert steer("P", steering_template("both")) == steer(suffix, steering_template("prefix"))


@pytest.mark.parametrize(
    ("first", "retries", "templates"),
    [
        ("prefix", 0, ()), ("prefix", 1, ("suffix",)), ("prefix", 3, ("suffix", "both", "both")),
        ("suffix", 2, ("both", "both")), ("both", 1, ("both",)), ("risk", 3, ("prefix", "suffix", "both")),
        ("intent", 1, ("prefix",)),
    ],
)
def test_retries_get_stronger_until_nothing_is(first: str, retries: int, templates: tuple[str, ...]) -> None:
    assert stronger(first, retries) == templates


def test_students_of_the_micro_world_are_rehearsed_on_it() -> None:
    from thinksafe.micro.language import STEERING

    assert steering_template("prefix") == STEERING


@pytest.mark.parametrize("prompt", ["{prompt}", "{", "}}{{", "{0} {x!r}", "%s", "\\1", "a\nb", "</think>"])
def test_what_stands_in_a_prompt_is_text(prompt: str) -> None:
    assert steer(prompt, f"before {PLACE} after") == f"before {prompt} after"


@given(st.text())
def test_the_prompt_stays_whole(prompt: str) -> None:
    assert steer(prompt, steering_template("prefix")).endswith(f"\n\n{prompt}")


@pytest.mark.parametrize("name", ["nothing", "", "../steering/prefix", "prefix.yaml", "/etc/passwd"])
def test_unknown_template_names_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="both, intent, prefix, risk, suffix"):
        steering_template(name)
