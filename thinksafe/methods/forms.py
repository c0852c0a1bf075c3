"""Forms: how much of an accepted response training sees."""

from __future__ import annotations

from typing import Literal

from thinksafe.records import Example, Sample
from thinksafe.traces import CLOSE, OPEN

Form = Literal["whole", "answer", "opening"]
"""``whole``: the response as it is. ``answer``: with its thought emptied, not its tags, so that the end of the thought
is still learned. ``opening``: as it is, but without an end of the turn, so that the model goes on by itself."""


def example_of(sample: Sample, form: Form) -> Example:
    """Return the example that an accepted sample becomes."""
    prompt = sample.prompt
    return Example(
        id=sample.id, prompt=prompt.prompt, label=prompt.label, category=prompt.category,
        response=without_thought(sample.response) if form == "answer" else sample.response, ends=form != "opening",
    )


def without_thought(response: str) -> str:
    r"""Return a response with an empty thought.

    The white space at both ends of the thought stays: Qwen3's ``<think>\nthought\n</think>`` becomes
    ``<think>\n\n</think>``, the form that its own template writes for a model that does not think.
    """
    before, close, after = response.partition(CLOSE)
    inside = before.lstrip().removeprefix(OPEN)
    if not close or not inside.strip():
        return response
    lead, tail = inside[: len(inside) - len(inside.lstrip())], inside[len(inside.rstrip()) :]
    gap = lead + tail if "\n" in lead + tail else lead or tail
    return f"{OPEN}{gap}{CLOSE}{after}"
