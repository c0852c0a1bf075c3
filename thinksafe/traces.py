"""Split a response into thought and answer.

Reasoning models write ``<think>thought</think>answer``. R1-Distill templates prefill the opening tag, so its raw
output holds the closing tag only; a parser that needs both tags would strip nothing (METHOD.md section 5). Responses of
families with other tags (``[THINK]``) are translated where they are sampled and trained on (:class:`Tags`), so that
everything else knows these only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

OPEN, CLOSE = "<think>", "</think>"
_OTHERS = re.compile(r"<(\u00b7*)(/?think>)")
_ESCAPED = re.compile(r"<\u00b7(\u00b7*)(/?think>)")


@dataclass(frozen=True)
class Tags:
    """The tags that a family of models writes around its thought."""

    open: str = OPEN
    close: str = CLOSE

    def canonical(self, written: str) -> str:
        """Return a response with the tags of its thought as ``<think>`` and ``</think>``, as rows hold it.

        Text that looks like these gets a middle dot, so that it closes no thought.
        """
        return written if self == Tags() else _exchanged(_OTHERS.sub("<\u00b7\\1\\2", written), self, Tags())

    def written(self, canonical: str) -> str:
        """Return a response as the model wrote it; undoes :meth:`canonical`."""
        return canonical if self == Tags() else _ESCAPED.sub("<\\1\\2", _exchanged(canonical, Tags(), self))


def _exchanged(text: str, before: Tags, after: Tags) -> str:
    """Replace an opening tag at the beginning, and the first closing tag."""
    begun = text.lstrip()
    if begun.startswith(before.open):
        text = text[: len(text) - len(begun)] + after.open + begun.removeprefix(before.open)
    return text.replace(before.close, after.close, 1)


@dataclass(frozen=True)
class Trace:
    """A response split into its parts."""

    thought: str | None
    """Text inside the think tags; None if the model does not think."""
    answer: str
    """What the user sees: everything after the first closing tag."""
    complete: bool
    """The thought is closed (always true for models without thoughts)."""

    @property
    def answered(self) -> bool:
        """There is something for a user to read: the thought is closed, and more than white space follows it."""
        return self.complete and bool(self.answer.strip())


def split(response: str, reasoning: Literal["think", "none"]) -> Trace:
    """Split a response into thought and answer.

    The first closing tag ends the thought, so nothing that a user would see counts as thought. A response with an open
    thought has no answer; one without any tag is all answer, but incomplete.
    """
    if reasoning == "none":
        return Trace(None, response, True)
    before, close, after = response.partition(CLOSE)
    opened = before.lstrip().startswith(OPEN)
    thought = before.lstrip().removeprefix(OPEN).strip() if opened else before.strip()
    if close:
        return Trace(thought, after.strip(), True)
    return Trace(thought, "", False) if opened else Trace(None, response.strip(), False)


def joined(responses: Sequence[str], reasoning: Literal["think", "none"]) -> str:
    """Return several responses as one: their thoughts in one, then what a user would see of them.

    If the thought of the last one is not closed, neither is that of the result: there is no whole answer.
    """
    if reasoning == "none":
        return "\n\n".join(responses)
    traces = [split(response, reasoning) for response in responses]
    thought = "\n\n".join(trace.thought for trace in traces if trace.thought)
    if traces[-1].thought is not None and not traces[-1].complete:
        return f"{OPEN}\n{thought}"
    answer = "\n\n".join(trace.answer for trace in traces if trace.answer)
    return f"{OPEN}\n{thought}\n{CLOSE}\n\n{answer}" if any(trace.complete for trace in traces) else answer


def part_text(response: str, part: Literal["whole", "thought", "answer"], reasoning: Literal["think", "none"]) -> str:
    """Return the text of one part of a response; empty if the response does not have it."""
    if part == "whole":
        return response
    trace = split(response, reasoning)
    return (trace.thought or "") if part == "thought" else trace.answer
