"""Hold conversations with any engine: turn after turn, each response seeded.

A conversation's user turns are fixed in advance; the model answers each one before it is told the next. It is shown its
earlier answers without their thoughts, as a user would see them and as reasoning models' chat templates ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from thinksafe.digests import derived_seed
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines.base import Engine, Generation, Turn
from thinksafe.traces import split


@dataclass(frozen=True)
class Script:
    """The user's side of a conversation."""

    turns: tuple[str, ...]
    """User turns, at least one."""
    settings: SamplingSettings
    opening: str = ""
    """Text that the last response is made to begin with."""


@dataclass(frozen=True)
class Exchange:
    """The model's side of a conversation."""

    replies: tuple[Generation, ...]
    """Responses to all turns but the last."""
    response: Generation


def converse(
    engine: Engine,
    scripts: Sequence[Script],
    seed: int,
    reasoning: Literal["think", "none"],
    advance: Callable[[int], None],
) -> list[Exchange]:
    """Return the exchange of each script, in order.

    The last turns of all scripts are asked together, with ``seed``; the turns before them in rounds, each with a seed
    of its own. ``advance`` is told how many exchanges were finished.
    """
    said: list[list[Turn]] = [[] for _ in scripts]
    replies: list[list[Generation]] = [[] for _ in scripts]
    for number in range(max((len(script.turns) for script in scripts), default=1) - 1):
        places = [place for place, script in enumerate(scripts) if number < len(script.turns) - 1]
        for place in places:
            said[place].append(_user(scripts[place].turns[number]))
        made = _generate(engine, scripts, said, places, derived_seed(seed, "turn", number), lambda _: None)
        for place, reply in made.items():
            replies[place].append(reply)
            said[place].append({"role": "assistant", "content": split(reply.response, reasoning).answer})
    for turns, script in zip(said, scripts, strict=True):
        turns += last_turn(script)
    last = _generate(engine, scripts, said, list(range(len(scripts))), seed, advance)
    return [Exchange(tuple(replies[place]), last[place]) for place in range(len(scripts))]


def last_turn(script: Script) -> list[Turn]:
    """Return the last messages: the user's turn, and the opening of the response if it has one."""
    opening: list[Turn] = [{"role": "assistant", "content": script.opening}] if script.opening else []
    return [_user(script.turns[-1]), *opening]


def _generate(
    engine: Engine, scripts: Sequence[Script], said: list[list[Turn]], places: list[int], seed: int,
    advance: Callable[[int], None],
) -> dict[int, Generation]:
    found: dict[int, Generation] = {}
    for settings in dict.fromkeys(scripts[place].settings for place in places):  # an engine takes one at a time
        chosen = [place for place in places if scripts[place].settings == settings]
        made = engine.generate([said[place] for place in chosen], settings, seed, advance)
        found |= zip(chosen, made, strict=True)
    return found


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}
