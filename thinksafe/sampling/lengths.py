"""Prompts that do not fit into a model, found before anything is sampled."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import NamedTuple

from thinksafe.errors import InputError
from thinksafe.sampling.engines.base import Engine, MeasuringEngine, Turn
from thinksafe.text import plural


class Planned(NamedTuple):
    """A conversation to sample."""

    id: str
    """Of its prompt."""
    turns: list[Turn]
    max_tokens: int
    """Tokens that the response may have."""


def require_room(engine: Engine, planned: Iterable[Planned]) -> None:
    """Refuse prompts that fill all positions of a model, and warn of those that leave less room than max_tokens.

    Attention takes memory with the square of a prompt's length, so a single one that is far too long would end the
    sampling of all others. An engine that does not know the positions (an endpoint) checks nothing.

    Raises:
        InputError: a prompt is too long; names its id and both lengths.
    """
    positions = engine.positions if isinstance(engine, MeasuringEngine) else 0
    if not isinstance(engine, MeasuringEngine) or not positions:
        return
    frame = engine.length([{"role": "user", "content": "x"}])
    tight: dict[str, int] = {}
    for name, turns, room in planned:
        # no token is shorter than a byte, so most prompts need not be tokenized for this
        if frame + sum(len(turn["content"].encode("utf-8", "replace")) for turn in turns) + room <= positions:
            continue
        length = engine.length(turns)
        if length >= positions:
            raise too_long(f"The prompt {name!r}", length, positions)
        if length + room > positions:
            tight.setdefault(name, length)
    if tight:
        first, length = next(iter(tight.items()))
        warnings.warn(
            f"Behind {plural(len(tight), 'prompt')} there is less room than max_tokens in the model's {positions:,} "
            f"positions (first {first!r}: {length:,} tokens). Longer responses are cut or go wrong; lower max_tokens.",
            stacklevel=2,
        )


def too_long(what: str, length: int, positions: int) -> InputError:
    """Return the error about a prompt that leaves no room for a response."""
    return InputError(
        f"{what} has {length:,} tokens, and the model has {positions:,} positions for prompt and response.",
        "Shorten it or leave it out of the set, or use a model with more positions.",
    )
