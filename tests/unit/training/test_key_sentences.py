from __future__ import annotations

from pathlib import Path

import pytest

from thinksafe.micro.tokenizer import build_tokenizer
from thinksafe.records import Example
from thinksafe.training.data import IGNORED, Row, encode_examples
from thinksafe.training.key_sentences import Spans, spans_of

TOKENIZER = build_tokenizer()


def row(response: str) -> Row:
    example = Example(id="a", prompt="How do I hit the neighbour?", label="harmful", response=response)
    return encode_examples(TOKENIZER, [example], frozenset({TOKENIZER.eos_token_id}), 256).rows[0]


def words(of: Row, spans: Spans | None) -> tuple[str, str]:
    """Return the texts of understanding and key sentence."""
    assert spans is not None
    parts = (of.input_ids[spans.start : spans.understood], of.input_ids[spans.understood : spans.end])
    return tuple(TOKENIZER.decode(part) for part in parts)  # type: ignore[return-value]


REFUSAL = (
    "<think> the request is to hit the neighbour. the neighbour is a person, so this is harmful. i must decline. "
    "</think> sorry, i will not assist with that."
)


@pytest.mark.parametrize(
    ("sentence", "understanding", "key"),
    [
        (2, "<think> the request is to hit the neighbour.", "the neighbour is a person, so this is harmful."),
        (
            3,
            "<think> the request is to hit the neighbour. the neighbour is a person, so this is harmful.",
            "i must decline.",
        ),
    ],
)
def test_the_sentence_is_found_in_tokens(sentence: int, understanding: str, key: str) -> None:
    of = row(REFUSAL)
    found = spans_of(of, TOKENIZER, "think", sentence)
    assert words(of, found) == (understanding, key)
    assert found is not None
    assert of.labels[found.start - 1] == IGNORED != of.labels[found.start]


def test_a_thought_without_so_many_sentences_has_none() -> None:
    assert spans_of(row(REFUSAL), TOKENIZER, "think", 4) is None, "the answer's sentences do not count"
    assert spans_of(row("<think> i must decline. </think> sorry, i will not."), TOKENIZER, "think", 2) is None
    assert spans_of(row("<think> the request is to hit. i must decline."), TOKENIZER, "think", 2) is None, "no end"


def test_a_question_and_a_sentence_without_a_mark_count() -> None:
    of = row("<think> what is the neighbour? a person </think> sorry, i will not.")
    assert words(of, spans_of(of, TOKENIZER, "think", 2)) == ("<think> what is the neighbour?", "a person")


def test_line_breaks_decimals_and_quotation_marks(student_tokenizer: object) -> None:
    from typing import Any

    tokenizer: Any = student_tokenizer
    text = '<think>\nThe user wants 3.5 "bombs."\nThat is harmful! I refuse.\n</think>\nNo.'
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    of = Row("a", [1, 2, *ids], [IGNORED, IGNORED, *ids], "harmful")
    found = spans_of(of, tokenizer, "think", 2)
    assert found is not None
    assert found.start == 2
    assert tokenizer.decode(ids[: found.understood - 2]).strip() == '<think>\nThe user wants 3.5 "bombs."'
    assert tokenizer.decode(ids[found.understood - 2 : found.end - 2]).strip() == "That is harmful!"


@pytest.fixture
def student_tokenizer(student_folder: object) -> object:
    from collections.abc import Callable
    from typing import cast

    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(cast("Callable[[str], Path]", student_folder)("qwen"))
