"""The interface of guards: give each (prompt, response) a three-valued opinion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

from thinksafe.config.guard_kinds import KINDS
from thinksafe.records import Part, Prompt, Sample, VerdictValue
from thinksafe.traces import joined, part_text, split


@dataclass(frozen=True)
class Opinion:
    """What a guard says about one text."""

    verdict: VerdictValue
    """``unknown`` whenever the guard cannot decide; it never means safe."""
    refusal: bool | None = None
    p_unsafe: float | None = None
    shortened: bool = False
    categories: tuple[str, ...] = ()
    """Hazard categories of an unsafe text, if the guard was asked to name them."""
    reason: str = ""


class Held(Prompt):
    """A conversation: a prompt of several turns, with the answers between them."""

    replies: tuple[str, ...]
    """The model's answers to all turns but the last, as a user saw them (without thoughts)."""

    @property
    def earlier(self) -> tuple[tuple[str, str], ...]:
        """Turns before the last, each with its answer."""
        return tuple(zip(self.turns[:-1], self.replies, strict=True))


def as_held(sample: Sample, reasoning: Literal["think", "none"]) -> Prompt:
    """Return what a sample responds to, as a guard should read it.

    That is the whole conversation, or else the prompt, which holds the plain request even if it was rewritten for the
    model (a guard that had to decode the request first would judge its own decoding).
    """
    if not sample.replies:
        return sample.prompt
    answers = tuple(split(reply, reasoning).answer for reply in sample.replies)
    return Held(**sample.prompt.model_dump(), replies=answers)


def as_text(prompt: Prompt) -> str:
    """Return what a response answers, for people: the request, or the conversation up to it."""
    if not isinstance(prompt, Held):
        return prompt.prompt
    said = "".join(f"User:\n{user}\n\nModel:\n{reply}\n\n" for user, reply in prompt.earlier)
    return f"{said}User:\n{prompt.turns[-1]}"


UNREADABLE = Opinion("unknown", None, reason="there is no text to judge")
_OPEN = Opinion("unknown", None, reason="the thought is not closed, so there is no answer")
_EMPTY = Opinion("unknown", None, reason="nothing follows the thought, so there is no answer")


class Guard(Protocol):
    """A loaded guard."""

    @property
    def name(self) -> str:
        """Name written on every verdict."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of everything that determines its opinions (weights, format, code)."""
        ...

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        """Return one opinion per (original prompt, text of the response or of one part of it), in order.

        A prompt of several turns is a :class:`Held`.
        """
        ...


class Asked(NamedTuple):
    """What a guard is asked about one response."""

    prompt: Prompt
    response: str
    """All of it, thought included."""
    part: Part


def ask(sample: Sample, part: Part, reasoning: Literal["think", "none"]) -> Asked:
    """Return what a guard is asked about one part of a sample: its last response, or all of an agent's trajectory."""
    if sample.prompt.trajectory and sample.replies:
        return Asked(sample.prompt, joined((*sample.replies, sample.response), reasoning), part)
    return Asked(as_held(sample, reasoning), sample.response, part)


def judge_parts(guard: Guard, asked: Sequence[Asked], reasoning: Literal["think", "none"]) -> list[Opinion]:
    """Return one opinion per part of a response, in order.

    A thought that was not closed, or that nothing follows, leaves no answer, so the response is unknown: a refusal or a
    compliance that only the thought contains is none. The thought itself is judged where it is asked for. A response
    without any tag is read as it stands, because a user would see it. Whether a whole response declines, a model that
    tells refusals is asked about its answer alone.
    """
    texts: dict[tuple[Prompt, str], int] = {}
    places: list[Opinion | tuple[int, int]] = []  # of each part: its text, and the text that may decline
    apart = tells_refusals(guard.name)
    for prompt, response, part in asked:
        trace = split(response, reasoning)
        if part != "thought" and trace.thought is not None and not trace.answered:
            places.append(_EMPTY if trace.complete else _OPEN)
            continue
        text = part_text(response, part, reasoning)
        declining = trace.answer if apart and part == "whole" and trace.thought else text
        whole, answer = (texts.setdefault((prompt, of), len(texts)) for of in (text, declining))
        places.append((whole, answer))
    said = dict(zip(texts.values(), guard.judge(list(texts)), strict=True))
    return [
        place if isinstance(place, Opinion) else replace(said[place[0]], refusal=said[place[1]].refusal)
        for place in places
    ]


def tells_refusals(kind: str) -> bool:
    """Return whether a guard is a model that answers whether a text declines."""
    known = KINDS.get(kind)
    return known is not None and bool(known.model) and known.answers_refusals
