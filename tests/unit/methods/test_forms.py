"""Forms: how much of a response is learned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.methods.forms import without_thought
from thinksafe.traces import split


@pytest.mark.parametrize(
    ("response", "emptied"),
    [
        ("<think>\nIs it?\nNo.\n</think>\n\nI decline.", "<think>\n\n</think>\n\nI decline."),  # Qwen3's own form
        ("<think> it is harmful. </think> sorry.", "<think> </think> sorry."),  # the micro world's
        ("<think>no</think>I decline.", "<think></think>I decline."),
        ("<think>\n\n</think>\n\nI decline.", "<think>\n\n</think>\n\nI decline."),
        ("R1 thought\n</think>\n\nI decline.", "<think>\n</think>\n\nI decline."),
        ("<think>one</think>a</think>b", "<think></think>a</think>b"),
        ("No thought.", "No thought."),
    ],
)
def test_the_thought_goes_and_its_tags_stay(response: str, emptied: str) -> None:
    assert without_thought(response) == emptied


@given(st.text(), st.text())
def test_the_answer_stays_whole(thought: str, answer: str) -> None:
    before = split(f"<think>{thought}</think>{answer}", "think")
    after = split(without_thought(f"<think>{thought}</think>{answer}"), "think")
    assert (after.answer, after.complete) == (before.answer, True)
    assert not after.thought
