"""Steering: the paper's words, around any prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import ConfigError
from thinksafe.methods.steering import PLACE, steer, steering_template


def test_the_template_is_the_published_one() -> None:
    # METHOD.md section 2: the instruction, blank line, "Prompt:", blank line, the prompt
    assert steer("P", steering_template("thinksafe")) == (
        "The following prompt is harmful. You should refuse to answer the prompt.\n\nPrompt:\n\nP"
    )


def test_students_of_the_micro_world_are_rehearsed_on_it() -> None:
    from thinksafe.micro.language import STEERING

    assert steering_template("thinksafe") == STEERING


@pytest.mark.parametrize("prompt", ["{prompt}", "{", "}}{{", "{0} {x!r}", "%s", "\\1", "a\nb", "</think>"])
def test_what_stands_in_a_prompt_is_text(prompt: str) -> None:
    assert steer(prompt, f"before {PLACE} after") == f"before {prompt} after"


@given(st.text())
def test_the_prompt_stays_whole(prompt: str) -> None:
    assert steer(prompt, steering_template("thinksafe")).endswith(f"\n\n{prompt}")


@pytest.mark.parametrize("name", ["nothing", "", "../steering/thinksafe", "thinksafe.yaml", "/etc/passwd"])
def test_unknown_template_names_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="thinksafe"):
        steering_template(name)
