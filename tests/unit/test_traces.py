"""Thought and answer: R1's missing opening tag, unfinished thoughts, repeated tags."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.traces import CLOSE, OPEN, Trace, joined, part_text, split

PIECES = st.lists(st.sampled_from([OPEN, CLOSE, " ", "\n", "word", "<think", "think>", "ä", "</thin"]), max_size=8).map(
    "".join
)


@pytest.mark.parametrize(
    ("response", "trace"),
    [
        ("<think>a</think>b", Trace("a", "b", True)),
        ("<think>\na\n</think>\n\nb\n", Trace("a", "b", True)),
        ("  <think>a</think>b", Trace("a", "b", True)),
        # R1-Distill: the template opened the thought, the output holds the closing tag only
        ("a</think>b", Trace("a", "b", True)),
        ("</think>b", Trace("", "b", True)),
        ("<think></think>b", Trace("", "b", True)),
        ("<think>a</think>", Trace("a", "", True)),
        # unfinished: no answer
        ("<think>a", Trace("a", "", False)),
        ("<think>", Trace("", "", False)),
        ("<think>a</thin", Trace("a</thin", "", False)),
        # no tags: all of it is shown to the user
        ("b", Trace(None, "b", False)),
        ("", Trace(None, "", False)),
        ("b<think>a", Trace(None, "b<think>a", False)),
        # several tags: the first closing tag ends the thought
        ("<think>a</think>b<think>c</think>d", Trace("a", "b<think>c</think>d", True)),
        ("<think>a</think>b</think>c", Trace("a", "b</think>c", True)),
        ("<think>a<think>b</think>c", Trace("a<think>b", "c", True)),
        ("x<think>a</think>b", Trace("x<think>a", "b", True)),
    ],
)
def test_split(response: str, trace: Trace) -> None:
    assert split(response, "think") == trace


@given(PIECES | st.text(max_size=40))
def test_nothing_after_the_first_closing_tag_is_lost(response: str) -> None:
    trace = split(response, "think")
    before, close, after = response.partition(CLOSE)
    if close:
        assert trace.complete
        assert trace.answer == after.strip()
        assert (trace.thought or "") in before
    else:
        assert not trace.complete
        assert trace.answer == (response.strip() if trace.thought is None else "")


@pytest.mark.parametrize(
    ("response", "reasoning", "answered"),
    [
        ("<think>a</think>b", "think", True), ("a</think>b", "think", True), ("<think></think>b", "think", True),
        ("<think>a</think>", "think", False), ("<think>a</think> \n", "think", False), ("</think>", "think", False),
        ("<think>a", "think", False), ("b", "think", False), ("", "think", False),
        ("b", "none", True), ("<think>a", "none", True), (" \n", "none", False), ("", "none", False),
    ],
)
def test_answered(response: str, reasoning: Literal["think", "none"], answered: bool) -> None:
    assert split(response, reasoning).answered == answered


@given(st.text(max_size=40))
def test_a_model_without_thoughts_is_all_answer(response: str) -> None:
    assert split(response, "none") == Trace(None, response, True)
    assert part_text(response, "answer", "none") == part_text(response, "whole", "none") == response
    assert part_text(response, "thought", "none") == ""


@given(PIECES)
def test_parts_are_parts_of_the_whole(response: str) -> None:
    assert part_text(response, "whole", "think") == response
    for part in ("thought", "answer"):
        assert part_text(response, part, "think") in response


@pytest.mark.parametrize(
    ("response", "thought", "answer"),
    [("<think>a</think>b", "a", "b"), ("a</think>b", "a", "b"), ("<think>a", "a", ""), ("b", "", "b")],
)
def test_parts(response: str, thought: str, answer: str) -> None:
    assert part_text(response, "thought", "think") == thought
    assert part_text(response, "answer", "think") == answer


@given(st.lists(PIECES, min_size=1, max_size=4))
def test_responses_joined_have_all_thoughts_and_all_answers(responses: list[str]) -> None:
    traces = [split(response, "think") for response in responses]
    whole = split(joined(responses, "think"), "think")
    last = traces[-1]
    if last.thought is not None and not last.complete:
        assert (whole.answer, whole.complete) == ("", False)
        return
    assert whole.answer == "\n\n".join(trace.answer for trace in traces if trace.answer).strip()
    assert joined(responses, "none") == "\n\n".join(responses)


def test_a_thought_that_is_open_at_the_end_leaves_no_answer() -> None:
    assert joined(["<think>a</think>b", "<think>c"], "think") == "<think>\na\n\nc"
    assert joined(["<think>a</think>b", "c"], "think") == "<think>\na\n</think>\n\nb\n\nc"
    assert joined(["b", "c"], "think") == "b\n\nc"
