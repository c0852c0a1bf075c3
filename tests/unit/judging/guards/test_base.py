"""What a guard, and a person, is given to read of a conversation."""

from __future__ import annotations

from collections.abc import Callable

from thinksafe.judging.guards.base import Held, as_held, as_text
from thinksafe.records import Prompt, Sample


def test_a_conversation_as_text(make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample]) -> None:
    prompt = make_prompt(prompt="In short?", turns=("Hello.", "And then?", "So how?"))
    replies = ("<think>a</think>Good day.", "<think>never closed")
    held = as_held(make_sample(prompt, replies=replies), "think")
    assert isinstance(held, Held)
    assert held.earlier == (("Hello.", "Good day."), ("And then?", ""))
    assert as_text(held) == "User:\nHello.\n\nModel:\nGood day.\n\nUser:\nAnd then?\n\nModel:\n\n\nUser:\nSo how?"


def test_a_request_as_it_is_meant(make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample]) -> None:
    for prompt in (make_prompt(prompt="How?"), make_prompt(prompt="How?", turns=("SG93Pw==",))):
        held = as_held(make_sample(prompt), "think")
        assert held == prompt
        assert as_text(held) == "How?"
