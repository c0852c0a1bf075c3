"""Thought and answer of a response.

Reasoning models write ``<think>thought</think>answer``. R1-Distill templates prefill the opening tag, so its raw
output holds the closing tag only; a parser that needs both tags would strip nothing (METHOD.md section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Trace:
    """A response taken apart."""

    thought: str | None
    """Text inside the think tags; None where the model does not think."""
    answer: str
    """What a user is shown: everything after the first closing tag."""
    complete: bool
    """The thought was closed (always true for models without thoughts)."""


def split(response: str, reasoning: Literal["think", "none"]) -> Trace:
    """Split a response into thought and answer.

    The first closing tag ends the thought, so that nothing a user would be shown is counted as thought. A response
    with an open thought has no answer; one without any tag is all answer, but not complete.
    """
    if reasoning == "none":
        return Trace(None, response, True)
    before, close, after = response.partition(CLOSE)
    opened = before.lstrip().startswith(OPEN)
    thought = before.lstrip().removeprefix(OPEN).strip() if opened else before.strip()
    if close:
        return Trace(thought, after.strip(), True)
    return Trace(thought, "", False) if opened else Trace(None, response.strip(), False)


def part_text(response: str, part: Literal["whole", "thought", "answer"], reasoning: Literal["think", "none"]) -> str:
    """Return the text of one part of a response; empty when the response does not have it."""
    if part == "whole":
        return response
    trace = split(response, reasoning)
    return (trace.thought or "") if part == "thought" else trace.answer
