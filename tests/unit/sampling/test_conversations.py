"""Conversations: turn after turn, seeded, the thought never shown again, whatever the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from thinksafe.digests import derived_seed
from thinksafe.records import SamplingSettings
from thinksafe.sampling.conversations import Exchange, Script, converse
from thinksafe.sampling.engines import Generation

COLD, HOT = SamplingSettings(temperature=0.0), SamplingSettings(temperature=1.0)


class Parrot:
    """Answers with the number of turns that it was shown and the last user turn; records every call."""

    def __init__(self, cut: str = "") -> None:
        self.calls: list[tuple[list[list[dict[str, str]]], SamplingSettings, int]] = []
        self.cut = cut

    def generate(
        self, conversations: list[list[dict[str, str]]], settings: SamplingSettings, seed: int,
        advance: Callable[[int], None],
    ) -> list[Generation]:
        self.calls.append(([list(turns) for turns in conversations], settings, seed))
        advance(len(conversations))
        found = []
        for turns in conversations:
            last = [turn["content"] for turn in turns if turn["role"] == "user"][-1]
            cut = bool(self.cut) and last == self.cut
            text = "<think>secret" if cut else f"<think>secret</think>\n{len(turns)}:{last}"
            found.append(Generation(text, "length" if cut else "stop", len(turns), 1))
        return found


def hold(engine: Any, *scripts: Script, advance: Callable[[int], None] = lambda _: None) -> list[Exchange]:
    return converse(engine, scripts, 9, "think", advance)


def test_a_turn_is_answered_before_the_next_is_said() -> None:
    engine = Parrot()
    (exchange,) = hold(engine, Script(("a", "b", "c"), COLD))
    assert [reply.response.splitlines()[1] for reply in exchange.replies] == ["1:a", "3:b"]
    assert exchange.response.response.endswith("5:c")
    shown = [turns for conversations, _, _ in engine.calls for turns in conversations]
    assert [len(turns) for turns in shown] == [1, 3, 5]
    assert shown[2] == [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "1:a"},
        {"role": "user", "content": "b"}, {"role": "assistant", "content": "3:b"}, {"role": "user", "content": "c"},
    ]
    assert not any("secret" in turn["content"] for turns in shown for turn in turns)


def test_rounds_have_seeds_of_their_own_and_last_turns_are_asked_together() -> None:
    engine = Parrot()
    scripts = [Script(("x",), COLD), Script(("a", "b"), COLD), Script(("p", "q", "r"), COLD)]
    found = hold(engine, *scripts)
    assert [seed for _, _, seed in engine.calls] == [derived_seed(9, "turn", 0), derived_seed(9, "turn", 1), 9]
    assert [len(conversations) for conversations, _, _ in engine.calls] == [2, 1, 3]
    assert [exchange.response.response[-1] for exchange in found] == ["x", "b", "r"]
    assert [len(exchange.replies) for exchange in found] == [0, 1, 2]


def test_single_turns_are_one_batch_with_the_seed_as_it_is() -> None:
    engine = Parrot()
    hold(engine, Script(("a",), COLD), Script(("b",), COLD))
    ((conversations, settings, seed),) = engine.calls
    assert conversations == [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}]]
    assert (settings, seed) == (COLD, 9)


def test_an_engine_takes_one_set_of_settings_at_a_time() -> None:
    engine = Parrot()
    found = hold(engine, Script(("a", "b"), HOT), Script(("c", "d"), COLD), Script(("e",), HOT))
    assert [(settings, len(turns)) for turns, settings, _ in engine.calls] == [
        (HOT, 1), (COLD, 1), (HOT, 2), (COLD, 1)
    ]
    assert [exchange.response.response[-1] for exchange in found] == ["b", "d", "e"]


def test_an_opening_is_the_last_responses_only() -> None:
    engine = Parrot()
    hold(engine, Script(("a", "b"), COLD, "<think>\n"))
    (first,), (last,) = (conversations for conversations, _, _ in engine.calls)
    assert [turn["role"] for turn in first] == ["user"]
    assert last[-1] == {"role": "assistant", "content": "<think>\n"}


def test_an_unfinished_thought_shows_nothing() -> None:
    engine = Parrot(cut="a")
    (exchange,) = hold(engine, Script(("a", "b"), COLD))
    assert exchange.replies[0].finish == "length"
    assert engine.calls[1][0][0][1] == {"role": "assistant", "content": ""}


@given(st.lists(st.integers(1, 4), max_size=6))
def test_every_exchange_is_counted_once(lengths: list[int]) -> None:
    steps: list[int] = []
    found = hold(Parrot(), *(Script(("t",) * length, COLD) for length in lengths), advance=steps.append)
    assert sum(steps) == len(lengths)
    assert [len(exchange.replies) + 1 for exchange in found] == lengths
