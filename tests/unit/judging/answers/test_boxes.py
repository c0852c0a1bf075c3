"""Boxes: found in time proportional to the text, the innermost, the closed, the filled."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.judging.answers.boxes import boxes


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("", []),
        ("no box", []),
        (r"\boxed{72}", ["72"]),
        (r"\boxed {72}, \fbox{b} and \box{c}", ["72", "b", "c"]),
        (r"\boxed{\frac{1}{2}}", [r"\frac{1}{2}"]),
        (r"\boxed{1} and \boxed{2}", ["1", "2"]),
        (r"\boxed{} and \boxed{ } and \boxed{3}", ["3"]),
        (r"\boxed{open", []),
        (r"\boxed{open \boxed{5}", ["5"]),
        (r"\boxed{\boxed{5}}", ["5"]),
        (r"\boxed{\{1, 2\}}", [r"\{1, 2\}"]),
        (r"\boxed{\left\{ 1 \right.}", [r"\left\{ 1 \right."]),
        (r"}} \boxed{5} {", ["5"]),
        (r"{\boxed{5}}", ["5"]),
        (r"\boxed5", ["5"]),
        (r"\boxed C", ["C"]),
        (r"\boxed 42 is it", ["42"]),
        (r"\boxed by", ["by"]),
        (r"\textboxed{5}", []),
    ],
)
def test_contents(text: str, contents: list[str]) -> None:
    assert [box.content for box in boxes(text)] == contents


@given(st.text(alphabet="{}\\ax", max_size=30).filter(lambda text: "box" not in text))
def test_a_balanced_content_comes_back(content: str) -> None:
    found = [box.content for box in boxes(rf"so \boxed{{{content}}} it is")]
    balanced = boxes_balanced(content)
    assert (found == [content.strip()]) == (balanced and bool(content.strip()))


def boxes_balanced(content: str) -> bool:
    """Whether braces close what they open, escapes aside, and nothing escapes the closing brace of the box."""
    depth, escaped = 0, False
    for sign in content:
        if not escaped:
            depth += {"{": 1, "}": -1}.get(sign, 0)
        escaped = sign == "\\" and not escaped
        if depth < 0:
            return False
    return depth == 0 and not escaped


@pytest.mark.parametrize("piece", ["\\boxed{", "{", "}", "\\boxed{}", "\\", "\\boxed{1}"])
def test_long_texts_take_no_time(piece: str) -> None:
    before = time.process_time()
    boxes(piece * 100_000)
    assert time.process_time() - before < 2
