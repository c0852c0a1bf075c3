"""The interface of guards: give each (prompt, response) a three-valued opinion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from thinksafe.records import Prompt, Sample, VerdictValue
from thinksafe.traces import split


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
