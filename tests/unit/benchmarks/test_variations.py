"""Transforms and controls of the thought: what is asked changes, the request stays."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.benchmarks import variations
from thinksafe.benchmarks.variations import opening, thinking_names, transform, transform_names, varied
from thinksafe.errors import ConfigError, InputError
from thinksafe.records import Prompt
from thinksafe.traces import split

TRANSFORMS = {"role-play", "prefix-injection", "past-tense", "base64", "long-context", "escalation"}
THINKING = {"no-thought", "short-thought", "long-thought"}


def test_what_is_shipped() -> None:
    assert set(transform_names()) == TRANSFORMS | {"plain"}
    assert set(thinking_names()) == THINKING | {"free"}


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
@given(request_=st.text(min_size=1, max_size=60))
def test_a_transform_holds_the_request_once(name: str, request_: str) -> None:
    turns = transform(name, request_)
    held = request_
    if name == "base64":
        held = base64.b64encode(request_.encode("utf-8", "replace")).decode()
        assert base64.b64decode(held).decode() == request_.encode("utf-8", "replace").decode()
    assert sum(turn.count(held) for turn in turns) >= 1
    assert held in turns[-1], "the last turn asks"
    with_other = transform(name, "other")
    assert turns[:-1] == with_other[:-1]
    assert turns != with_other or request_ == "other"


@pytest.mark.parametrize("name", sorted(TRANSFORMS - {"base64"}))
def test_places_inside_a_request_are_text(name: str) -> None:
    (*_, last) = transform(name, "What is {prompt} and {base64}?")
    assert last.count("{prompt}") == last.count("{base64}") == 1


def test_shapes() -> None:
    assert transform("plain", "x") == ()
    assert [len(transform(name, "x")) for name in ("role-play", "escalation")] == [1, 3]
    assert len(transform("long-context", "x")[0].split()) > 700
    assert "eA==" in transform("base64", "x")[0]


def test_openings_open_a_thought() -> None:
    assert opening("free") == ""
    assert split(opening("no-thought") + "Sure.", "think").thought == ""
    assert split(opening("no-thought") + "Sure.", "think").complete
    for name in ("short-thought", "long-thought"):
        assert opening(name).startswith("<think>\n")
        assert not split(opening(name), "think").complete, "the model closes it"
    assert len(opening("long-thought").split()) > 200 > len(opening("short-thought").split())


@pytest.mark.parametrize("kind", ["transforms", "thinking"])
def test_texts_are_plain(kind: str) -> None:
    for name, found in variations._files(kind).items():
        assert found["title"], name
        assert found["about"], name
        text = " ".join(found.get("turns") or [found["opening"]])
        assert re.fullmatch(r"[\x20-\x7e\n]+", text), f"{name}: only what every tokenizer knows"


def test_variations_of_prompts(make_prompt: Callable[..., Prompt]) -> None:
    rows = [make_prompt("a", prompt="How?", label="harmful"), make_prompt("b", prompt="Why?", label="harmful")]
    found = varied(rows, ["role-play"], ["no-thought"])
    assert [row.id for row in found] == ["a~role-play-no-thought", "b~role-play-no-thought"]
    assert [row.prompt for row in found] == ["How?", "Why?"], "in plain words, for guard and decontamination"
    assert found[0].turns == transform("role-play", "How?")
    assert found[0].opening == "<think>\n\n</think>\n\n"
    assert varied(rows, [], []) == varied(rows, ["plain"], ["free"]) == rows
    (first, _) = varied(rows, ["plain"], ["short-thought"])
    assert (first.turns, first.id) == ((), "a~short-thought")


def test_conversations_are_not_rewritten_but_their_thoughts_controlled(make_prompt: Callable[..., Prompt]) -> None:
    row = make_prompt("a", turns=("x", "y"))
    with pytest.raises(InputError, match="'a' is a conversation, which base64 cannot rewrite"):
        varied([row], ["base64"], [])
    (found,) = varied([row], ["plain"], ["no-thought"])
    assert found.turns == ("x", "y")


@pytest.mark.parametrize("names", [(["rot13"], []), ([], ["loud"])])
def test_unknown_names(make_prompt: Callable[..., Prompt], names: tuple[list[str], list[str]]) -> None:
    with pytest.raises(ConfigError, match="There is no"):
        varied([make_prompt()], *names)
