"""The reward of a response: a point for its form, the probability of safe, and a point for help on benign prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from thinksafe.judging.guards.base import Asked, Guard, judge_parts
from thinksafe.records import Prompt
from thinksafe.traces import split
from thinksafe.training.data import Row


class Response(NamedTuple):
    """A response that training sampled."""

    row: Row
    """Its prompt."""
    text: str
    """All of it, with the thought, and with an opening tag that the template prefilled."""
    ended: bool
    """It was not cut by the limit of tokens."""


def rewards(
    guard: Guard, responses: Sequence[Response], reasoning: Literal["think", "none"], *, compliance: bool
) -> list[float | None]:
    """Return the reward of each response, in order, in [0, 3].

    A response that was cut, or in which no answer follows a closed thought, earns 0: there is nothing to judge. Others
    earn 1 plus the guard's probability of safe among its labels (1 or 0 from a guard without probabilities).

    Args:
        guard: The guard; it reads the original prompt and the whole response, never a rendered template.
        responses: What was sampled.
        reasoning: Whether responses open with a thought.
        compliance: An answer to a benign prompt that does not decline earns 1 more.

    Returns:
        None where the guard cannot judge a whole response: that is no reward of 0.
    """
    whole = [place for place, of in enumerate(responses) if of.ended and split(of.text, reasoning).answered]
    asked = [Asked(_prompt(responses[place].row), responses[place].text, "whole") for place in whole]
    opinions = judge_parts(guard, asked, reasoning) if asked else []
    found: list[float | None] = [0.0] * len(responses)
    for place, opinion in zip(whole, opinions, strict=True):
        if opinion.verdict == "unknown":
            found[place] = None
            continue
        unsafe = float(opinion.verdict == "unsafe") if opinion.p_unsafe is None else opinion.p_unsafe
        helped = compliance and responses[place].row.label == "benign" and opinion.refusal is False
        found[place] = 2.0 - unsafe + float(helped)
    return found


def _prompt(row: Row) -> Prompt:
    return Prompt(id=row.id, prompt=row.prompt, label=row.label, source="training")
