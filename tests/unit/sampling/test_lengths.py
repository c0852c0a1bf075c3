"""Prompts that do not fit are refused by id before anything is sampled; tight ones are named in a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import InputError
from thinksafe.models.loading import positions_of
from thinksafe.sampling.engines.base import Generation, Turn
from thinksafe.sampling.lengths import Planned, require_room

FRAME = 10
"""Tokens of the chat template."""


class Letters:
    """A model whose tokens are characters."""

    def __init__(self, positions: int) -> None:
        self.positions = positions
        self.measured = 0

    def length(self, turns: list[Turn]) -> int:
        self.measured += 1
        return FRAME + sum(len(turn["content"]) for turn in turns)

    def generate(self, *given: Any) -> list[Generation]:
        raise AssertionError("nothing may be sampled")


def planned(*texts: str, room: int = 20) -> list[Planned]:
    return [Planned(f"p-{n}", [{"role": "user", "content": text}], room) for n, text in enumerate(texts)]


def quietly(engine: Any, rows: list[Planned]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_room(engine, rows)


@pytest.mark.parametrize("length", [90, 91, 1_000_000])
def test_a_prompt_that_leaves_no_room_is_refused(length: int) -> None:
    problem = rf"'p-1' has {length + FRAME:,} tokens, and the model has 100 positions"
    with pytest.raises(InputError, match=problem) as raised:
        require_room(Letters(100), planned("short", "S" * length))
    assert "SSS" not in str(raised.value)


@pytest.mark.parametrize(("length", "tight"), [(69, False), (70, False), (71, True), (89, True)])
def test_a_prompt_that_leaves_less_than_max_tokens_is_named(length: int, tight: bool) -> None:
    rows = planned("short", "S" * length, "S" * length)
    if not tight:
        quietly(Letters(100), rows)
        return
    with pytest.warns(UserWarning, match=rf"^Behind 2 prompts .* 100 positions \(first 'p-1': {length + 10} tokens"):
        require_room(Letters(100), rows)


def test_short_prompts_are_not_tokenized() -> None:
    engine = Letters(1000)
    quietly(engine, planned(*["a prompt"] * 50))
    assert engine.measured == 1, "the frame alone"


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4), st.integers(0, 40))
def test_nothing_that_is_too_long_gets_through(texts: list[str], room: int) -> None:
    lengths = [FRAME + len(text) for text in texts]
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            require_room(Letters(50), planned(*texts, room=room))
    except InputError:
        assert max(lengths) >= 50
    else:
        assert max(lengths) < 50
        assert bool(heard) == (max(lengths) + room > 50)


@pytest.mark.parametrize("engine", [Letters(0), SimpleNamespace(generate=None)])
def test_an_engine_that_does_not_know_checks_nothing(engine: Any) -> None:
    quietly(engine, planned("S" * 10_000))


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"max_position_embeddings": 32768}, 32768), ({}, 0), ({"max_position_embeddings": None}, 0),
        ({"max_position_embeddings": 131072, "rope_parameters": {"rope_type": "llama3", "factor": 8.0,
          "original_max_position_embeddings": 8192}}, 131072),
        ({"max_position_embeddings": 32768, "rope_scaling": {"type": "yarn", "factor": 4.0,
          "original_max_position_embeddings": 32768}}, 131072),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 2}}, 8192),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 4096),
    ],
)
def test_positions(config: dict[str, Any], positions: int) -> None:
    assert positions_of(SimpleNamespace(**config)) == positions


@pytest.mark.parametrize(
    "long", [{"prompt": "how do i paint " * 100}, {"prompt": "x", "turns": ("how do i paint " * 30,) * 4}]
)
def test_the_stage_refuses_before_it_samples(
    long: dict[str, Any],
    sample_section: Callable[..., Any], make_context: Callable[..., Any], make_prompt: Callable[..., Any],
    micro_reference: Any, tmp_path: Path,
) -> None:
    """With the real engine: the first prompt would fit, the last one does not."""
    from thinksafe.jsonl import write_json, write_records
    from thinksafe.micro.world import prompts
    from thinksafe.stages import sample

    rows = [*prompts("train", "reasoning", 2, 1), make_prompt("z", **long)]
    write_records(tmp_path / "p.jsonl", rows)
    write_json(tmp_path / "m.json", micro_reference)
    context = make_context("sample")
    with pytest.raises(InputError, match=r"The prompt 'z' has \d{3} tokens, and the model has 256 positions"):
        sample.run(
            context, sample_section(), tmp_path / "m.json", tmp_path / "p.jsonl", samples_out=tmp_path / "s.json"
        )
    assert not list(context.store.keys("chunks/"))
