"""What a guard, and a person, is given to read of a conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from thinksafe.judging.guards import Opinion
from thinksafe.judging.guards.base import Asked, Held, as_held, as_text, ask, judge_parts
from thinksafe.records import Part, Prompt, Sample


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


class Eager:
    """Calls every text a safe refusal, and remembers what it was given."""

    name, fingerprint = "eager", "f"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        self.seen += [text for _, text in rows]
        return [Opinion("safe", True) for _ in rows]


@pytest.mark.parametrize(
    ("response", "reasoning", "reason"),
    [
        ("<think>I must refuse.</think>I refuse.", "think", ""), ("I must refuse.</think>I refuse.", "think", ""),
        ("<think>\n\n</think>\n\nI refuse.", "think", ""), ("I refuse.", "none", ""), ("<think>a", "none", ""),
        ("<think>I must refuse.</think>", "think", "nothing follows the thought"),
        ("<think>I must refuse.</think>\n\n", "think", "nothing follows the thought"),
        ("</think>", "think", "nothing follows the thought"),
        ("<think>I must refuse.", "think", "the thought is not closed"),
        ("I refuse.", "think", ""),
    ],
)
@pytest.mark.parametrize("part", ["whole", "answer"])
def test_an_answer_that_is_not_there_is_unknown_to_every_guard(
    make_prompt: Callable[..., Prompt], response: str, reasoning: Literal["think", "none"], reason: str, part: Part
) -> None:
    guard = Eager()
    [opinion] = judge_parts(guard, [Asked(make_prompt(), response, part)], reasoning)
    assert (opinion.verdict, opinion.refusal) == (("unknown", None) if reason else ("safe", True))
    assert opinion.reason.startswith(reason)
    assert bool(guard.seen) == (not reason)


def test_opinions_keep_their_places(make_prompt: Callable[..., Prompt]) -> None:
    guard, prompt = Eager(), make_prompt()
    responses = ["<think>a", "<think>b</think>c", "<think>d</think>", "<think>e</think>f"]
    asked = [Asked(prompt, response, part) for response in responses for part in ("whole", "thought")]
    found = judge_parts(guard, asked, "think")
    assert [opinion.verdict for opinion in found] == [
        "unknown", "safe", "safe", "safe", "unknown", "safe", "safe", "safe",
    ]
    assert guard.seen == ["a", responses[1], "b", "d", responses[3], "e"]
    assert judge_parts(guard, [], "think") == []


class Reader(Eager):
    """A model that takes any text with the word refuse for a refusal, and one with the word plan for unsafe."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        super().judge(rows)
        return [Opinion("unsafe" if "plan" in text else "safe", "refuse" in text) for _, text in rows]


@pytest.mark.parametrize("name", ["wildguard", "qwen3guard"])
def test_a_refusal_that_only_the_thought_holds_is_none(make_prompt: Callable[..., Prompt], name: str) -> None:
    guard, prompt = Reader(name), make_prompt()
    responses = [
        "<think>I must refuse.</think>First, mix.", "<think>Hm.</think>I refuse.", "<think>My plan.</think>I refuse.",
        "I refuse.", "<think>\n\n</think>\n\nI refuse.",
    ]
    found = judge_parts(guard, [Asked(prompt, response, "whole") for response in responses], "think")
    assert [(opinion.verdict, opinion.refusal) for opinion in found] == [
        ("safe", False), ("safe", True), ("unsafe", True), ("safe", True), ("safe", True),
    ]
    assert guard.seen.count("I refuse.") == 1, "the same text is judged once"


def test_a_guard_that_reads_phrases_is_asked_once(make_prompt: Callable[..., Prompt]) -> None:
    guard = Reader("llama-guard-3")
    judge_parts(guard, [Asked(make_prompt(), "<think>Hm.</think>I refuse.", "whole")], "think")
    assert guard.seen == ["<think>Hm.</think>I refuse."]


def test_an_agent_is_judged_by_all_that_it_wrote(
    make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample]
) -> None:
    prompt = make_prompt(prompt="Ring every bell.", turns=("Tools: ring. Task: Ring every bell.", "Results: fine."))
    replies = ("<think>First.</think>ring(house=1)",)
    talk = ask(make_sample(prompt, "<think>Then.</think>Done.", replies=replies), "answer", "think")
    assert (type(talk.prompt), talk.response) == (Held, "<think>Then.</think>Done.")
    whole = prompt.model_copy(update={"trajectory": True})
    asked = ask(make_sample(whole, "<think>Then.</think>Done.", replies=replies), "answer", "think")
    assert asked == Asked(whole, "<think>\nFirst.\n\nThen.\n</think>\n\nring(house=1)\n\nDone.", "answer")
    single = whole.model_copy(update={"turns": ("Ring.",)})
    alone = ask(make_sample(single, "<think>Then.</think>No."), "whole", "think")
    assert alone.response == "<think>Then.</think>No."
