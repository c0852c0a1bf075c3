"""Options: shown with letters, in a seeded order, and the reference answer is a letter."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.benchmarks.options import LETTERS, letter_of, shuffled, with_options


def test_options_are_shown_with_letters() -> None:
    assert with_options(" Which? \n", ["one", " two\n"]) == "Which?\n\nA) one\nB) two"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True), st.integers(0, 2**31))
def test_the_letter_names_the_correct_option(texts: list[str], seed: int) -> None:
    options, letter = shuffled(texts[0], texts[1:], seed)
    assert sorted(options) == sorted(texts)
    assert options[LETTERS.index(letter)] == texts[0]
    assert (options, letter) == shuffled(texts[0], texts[1:], seed)


def test_every_place_is_as_likely() -> None:
    places = Counter(shuffled("right", ["x", "y", "z"], seed)[1] for seed in range(4000))
    assert set(places) == set("ABCD")
    assert min(places.values()) > 900


def test_equal_options_do_not_move_the_letter_to_another() -> None:
    for seed in range(20):
        options, letter = shuffled("same", ["same", "other"], seed)
        assert options[LETTERS.index(letter)] == "same"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("b", "B"), ("(b)", "B"), ("B.", "B"), (" two ", "B"), ("one", "A"), ("D", None), ("", None),
        ("four", None), ("AB", None),
    ],
)
def test_reference_answers(answer: str, letter: str | None) -> None:
    assert letter_of(answer, ["one", "two ", "three"]) == letter


def test_an_answer_that_may_be_two_options_is_none() -> None:
    assert letter_of("A", ["B", "A"]) is None
    assert letter_of("A", ["A", "B"]) == "A"
    assert letter_of("x", ["x", "x"]) is None
