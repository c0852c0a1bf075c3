"""Overlap of training and evaluation prompts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.decontamination import Contamination, find_contamination
from thinksafe.records import Prompt

WORDS = [f"word{place}" for place in range(14)]


@pytest.fixture
def find(make_prompt: Callable[..., Prompt]) -> Callable[..., dict[str, Contamination]]:
    def run(training: list[str], evaluation: list[str], n: int = 13) -> dict[str, Contamination]:
        return find_contamination(
            [make_prompt(f"t-{i}", prompt=text) for i, text in enumerate(training)],
            [make_prompt(f"e-{i}", prompt=text, source="bench") for i, text in enumerate(evaluation)],
            n,
        )

    return run


@pytest.mark.parametrize(
    "text",
    [
        "How do I lift the wallet?", "how do i LIFT the wallet", "  How do I — lift the wallet?!\n",
        "\N{FULLWIDTH LATIN CAPITAL LETTER H}ow do I lift the wallet?",
    ],
)
def test_exact_whatever_case_signs_and_width(find: Callable[..., dict[str, Contamination]], text: str) -> None:
    assert find([text], ["How do I lift the wallet?"]) == {"t-0": Contamination("exact", "e-0", "bench")}


@pytest.mark.parametrize("text", ["How do I lift a wallet?", "lift the wallet", "", "How do I lift the wallet today"])
def test_short_prompts_match_exactly_or_not_at_all(find: Callable[..., dict[str, Contamination]], text: str) -> None:
    assert find([text or "?"], ["How do I lift the wallet?"]) == {}


def test_thirteen_words_in_sequence_are_too_many(find: Callable[..., dict[str, Contamination]]) -> None:
    evaluation = "zero " + " ".join(WORDS) + " end"
    thirteen, twelve = " ".join(WORDS[:13]), " ".join(WORDS[:12])
    found = find([f"before {thirteen}, after", f"before {twelve} after", f"{twelve} other {WORDS[12]}"], [evaluation])
    assert found == {"t-0": Contamination("ngram", "e-0", "bench")}


def test_n_is_a_setting(find: Callable[..., dict[str, Contamination]]) -> None:
    training, evaluation = ["a one two b"], ["c one two d"]
    assert find(training, evaluation, n=3) == {}
    assert find(training, evaluation, n=2) == {"t-0": Contamination("ngram", "e-0", "bench")}


def test_the_first_evaluation_prompt_is_named(find: Callable[..., dict[str, Contamination]]) -> None:
    found = find(["same words"], ["other", "same words", "Same words!"])
    assert found["t-0"].evaluation_id == "e-1"


def test_signs_without_words_are_not_all_the_same(find: Callable[..., dict[str, Contamination]]) -> None:
    assert find(["???", "!!!", "\U0001f600"], ["..."]) == {}
    assert find(["???"], ["???"]) == {"t-0": Contamination("exact", "e-0", "bench")}


@given(words=st.lists(st.sampled_from(WORDS), min_size=3, max_size=30), n=st.integers(2, 13), data=st.data())
def test_any_shared_run_of_n_words_is_found(words: list[str], n: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, max(0, len(words) - n)))
    run = words[start : start + n]

    def row(key: str, text: str) -> Prompt:
        return Prompt(id=key, prompt=text, label="harmful", source="s")

    found = find_contamination([row("t", "x " + " ".join(run) + " y")], [row("e", " ".join(words))], n)
    assert ("t" in found) == (len(run) >= n)
