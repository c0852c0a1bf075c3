"""Overlap of training and evaluation prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.prompts.decontamination import Contamination, Overlap, find_contamination
from thinksafe.records import Prompt

WORDS = [f"word{place}" for place in range(14)]


def overlap(kind: str, evaluation_id: str) -> Overlap:
    return Overlap.model_validate({"id": "t-0", "kind": kind, "evaluation_id": evaluation_id, "benchmark": "bench"})


@pytest.fixture
def find(make_prompt: Callable[..., Prompt]) -> Callable[..., dict[str, Overlap]]:
    def run(training: list[str], evaluation: list[str], n: int = 13) -> dict[str, Overlap]:
        report = find_contamination(
            [make_prompt(f"t-{i}", prompt=text) for i, text in enumerate(training)],
            [make_prompt(f"e-{i}", prompt=text, source="bench") for i, text in enumerate(evaluation)],
            n,
        )
        return {overlap.id: overlap for overlap in report.overlaps}

    return run


@pytest.mark.parametrize(
    "text",
    [
        "How do I lift the wallet?", "how do i LIFT the wallet", "  How do I — lift the wallet?!\n",
        "\N{FULLWIDTH LATIN CAPITAL LETTER H}ow do I lift the wallet?",
    ],
)
def test_exact_whatever_case_signs_and_width(find: Callable[..., dict[str, Overlap]], text: str) -> None:
    assert find([text], ["How do I lift the wallet?"]) == {"t-0": overlap("exact", "e-0")}


@pytest.mark.parametrize("text", ["How do I lift a wallet?", "lift the wallet", "", "How do I lift the wallet today"])
def test_short_prompts_match_exactly_or_not_at_all(find: Callable[..., dict[str, Overlap]], text: str) -> None:
    assert find([text or "?"], ["How do I lift the wallet?"]) == {}


def test_thirteen_words_in_sequence_are_too_many(find: Callable[..., dict[str, Overlap]]) -> None:
    evaluation = "zero " + " ".join(WORDS) + " end"
    thirteen, twelve = " ".join(WORDS[:13]), " ".join(WORDS[:12])
    found = find([f"before {thirteen}, after", f"before {twelve} after", f"{twelve} other {WORDS[12]}"], [evaluation])
    assert found == {"t-0": overlap("ngram", "e-0")}


def test_n_is_a_setting(find: Callable[..., dict[str, Overlap]]) -> None:
    training, evaluation = ["a one two b"], ["c one two d"]
    assert find(training, evaluation, n=3) == {}
    assert find(training, evaluation, n=2) == {"t-0": overlap("ngram", "e-0")}


def test_the_first_evaluation_prompt_is_named(find: Callable[..., dict[str, Overlap]]) -> None:
    found = find(["same words"], ["other", "same words", "Same words!"])
    assert found["t-0"].evaluation_id == "e-1"


def test_signs_without_words_are_not_all_the_same(find: Callable[..., dict[str, Overlap]]) -> None:
    assert find(["???", "!!!", "\U0001f600"], ["..."]) == {}
    assert find(["???"], ["???"]) == {"t-0": overlap("exact", "e-0")}


@given(words=st.lists(st.sampled_from(WORDS), min_size=3, max_size=30), n=st.integers(2, 13), data=st.data())
def test_any_shared_run_of_n_words_is_found(words: list[str], n: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, max(0, len(words) - n)))
    run = words[start : start + n]

    def row(key: str, text: str) -> Prompt:
        return Prompt(id=key, prompt=text, label="harmful", source="s")

    found = find_contamination([row("t", "x " + " ".join(run) + " y")], [row("e", " ".join(words))], n)
    assert bool(found.overlaps) == (len(run) >= n)
    assert found.benchmarks[0].found == (len(run) >= n)


def report(make_prompt: Callable[..., Prompt], training: list[str], **options: Any) -> Contamination:
    evaluation = [
        make_prompt(f"{bench}-{i}", prompt=text, source=bench)
        for bench, texts in {"a": ["one two", "three four"], "b": ["one two", "five six"]}.items()
        for i, text in enumerate(texts)
    ]
    rows = [make_prompt(f"t-{i}", prompt=text) for i, text in enumerate(training)]
    return find_contamination(rows, evaluation, 13, **options)


@pytest.mark.parametrize("drop", [True, False])
def test_each_benchmark_is_counted_by_itself(make_prompt: Callable[..., Prompt], drop: bool) -> None:
    found = report(make_prompt, ["One two!", "five six", "other", "one  two"], drop=drop)
    counts = {of.benchmark: (of.prompts, of.found, of.left) for of in found.benchmarks}
    assert counts == {"a": (2, 1, 0 if drop else 1), "b": (2, 2, 0 if drop else 2)}
    assert [(row.id, row.benchmark) for row in found.overlaps] == [
        ("t-0", "a"), ("t-0", "b"), ("t-1", "b"), ("t-3", "a"), ("t-3", "b")
    ]


def test_a_benchmark_without_overlap_is_in_the_report(make_prompt: Callable[..., Prompt]) -> None:
    found = report(make_prompt, [])
    assert [(of.benchmark, of.found) for of in found.benchmarks] == [("a", 0), ("b", 0)]


def test_what_is_asked_counts_where_it_can_be_read(make_prompt: Callable[..., Prompt]) -> None:
    def first_word(text: str) -> str:
        return text.split()[0]

    found = report(make_prompt, ["one three"], asked=first_word)
    assert [(row.kind, row.evaluation_id) for row in found.overlaps] == [("request", "a-0"), ("request", "b-0")]


def test_the_micro_world_holds_out_pairs() -> None:
    from thinksafe.micro.world import prompts
    from thinksafe.stages.prepare import _micro_request

    train, test = (prompts(split, "harmful", 200, 1) for split in ("train", "test"))
    assert find_contamination(train, test, 13, asked=_micro_request).overlaps == ()
    again = [row.model_copy(update={"id": f"x-{row.id}"}) for row in test]
    assert len({row.id for row in find_contamination(again, test, 13, asked=_micro_request).overlaps}) == 200
