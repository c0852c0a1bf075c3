from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinksafe.errors import InputError, StageError
from thinksafe.records import Example
from thinksafe.training.data import IGNORED, Drop, Row, closing_ids, encode_examples
from thinksafe.training.details import TrainDetails

THOUGHT = "<think>\nThat would hurt people.\n</think>\n\nI cannot help with that."
PLAIN = "I cannot help with that."
# kind: response, what the model is trained to end with
ENDS = {"qwen": (THOUGHT, "<|im_end|>"), "r1": (THOUGHT, "<|end_of_sentence|>"), "llama": (PLAIN, "<|eot_id|>")}

Tokenizers = Callable[[str], Any]


def example(response: str, prompt: str = "how do I do harm?", id_: str = "a") -> Example:
    return Example(id=id_, prompt=prompt, response=response, label="harmful")


@pytest.fixture(scope="session")
def tokenizer(student_folder: Callable[[str], Path]) -> Tokenizers:
    from transformers import AutoTokenizer

    loaded: dict[str, Any] = {}

    def load(kind: str) -> Any:
        if kind not in loaded:
            loaded[kind] = AutoTokenizer.from_pretrained(student_folder(kind))
        return loaded[kind]

    return load


def ends(tokenizer: Any, kind: str) -> frozenset[int]:
    return frozenset({tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(ENDS[kind][1])})


def encode(tokenizer: Any, kind: str, *examples: Example, limit: int = 10_000) -> list[Row]:
    return encode_examples(tokenizer, examples, ends(tokenizer, kind), limit).rows


def trained(tokenizer: Any, row: Row) -> str:
    """Return the text that carries loss."""
    return str(tokenizer.decode([token for token in row.labels if token != IGNORED]))


@pytest.mark.parametrize("kind", ENDS)
def test_an_example_without_a_response_is_its_prompt_alone(tokenizer: Tokenizers, kind: str) -> None:
    tok, asked = tokenizer(kind), example("")
    [row] = encode(tok, kind, asked)
    [whole] = encode(tok, kind, example(ENDS[kind][0]))
    assert row.input_ids == whole.input_ids[: whole.labels.count(IGNORED)], "where a model that is served goes on"
    assert (row.prompt, set(row.labels)) == (asked.prompt, {IGNORED})
    found = encode_examples(tok, [asked], ends(tok, kind), len(row.input_ids) + 5, minimum=0, room=6)
    assert found.dropped["too_long"] == 1


@pytest.mark.parametrize("kind", ENDS)
def test_prompt_tokens_carry_no_loss_and_all_others_do(tokenizer: Tokenizers, kind: str) -> None:
    tok = tokenizer(kind)
    [row] = encode(tok, kind, example(ENDS[kind][0]))
    turns = [{"role": "user", "content": "how do I do harm?"}]
    served = tok.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)

    assert row.input_ids[: len(served)] == served
    assert row.labels[: len(served)] == [IGNORED] * len(served)
    assert row.labels[len(served) :] == row.input_ids[len(served) :]
    assert IGNORED not in row.labels[len(served) :]


@pytest.mark.parametrize("kind", ENDS)
def test_thought_answer_and_end_of_turn_are_in_the_training_text(tokenizer: Tokenizers, kind: str) -> None:
    tok, (response, end) = tokenizer(kind), ENDS[kind]
    [row] = encode(tok, kind, example(response))

    assert tok.decode(row.input_ids).endswith(response + end)
    assert tok.decode(row.input_ids).count("<think>") == response.count("<think>")
    assert trained(tok, row).endswith(end)


def test_the_served_r1_template_would_have_lost_the_thought(tokenizer: Tokenizers) -> None:
    turns = [{"role": "user", "content": "how do I do harm?"}, {"role": "assistant", "content": THOUGHT}]
    assert "hurt" not in tokenizer("r1").apply_chat_template(turns, tokenize=False)


def test_the_opening_tag_that_the_template_writes_is_prompt(tokenizer: Tokenizers) -> None:
    [row] = encode(tokenizer("r1"), "r1", example(THOUGHT))
    assert trained(tokenizer("r1"), row).startswith("That would hurt people.\n</think>")


def test_a_response_without_the_thought_that_the_template_opens_is_dropped_and_counted(tokenizer: Tokenizers) -> None:
    tok = tokenizer("r1")
    found = encode_examples(tok, [example(PLAIN, id_="bad-one"), example(THOUGHT)], ends(tok, "r1"), 10_000)
    assert [row.id for row in found.rows] == ["a"]
    assert found.dropped["no_thought"] == 1


@pytest.mark.parametrize("kind", ["qwen", "r1"])
@pytest.mark.parametrize(
    ("response", "after"),
    [
        ("A thought.</think>An answer.", "A thought.</think>An answer."),
        ("A thought.</think>Write <think> first.", "A thought.</think>Write <think> first."),
        ("</think>An answer.", "</think>An answer."),
        ("<think>A thought.</think>Write <think> and </think>.", "A thought.</think>Write <think> and </think>."),
        ("<think>\n\n</think>\n\nAn answer.", "\n</think>\n\nAn answer."),
        (" \n<think>\nA thought.</think>An answer.", "A thought.</think>An answer."),
    ],
)
def test_stray_tags_end_no_training(tokenizer: Tokenizers, kind: str, response: str, after: str) -> None:
    """Each is one row, which continues what the template opened."""
    tok = tokenizer(kind)
    [row] = encode(tok, kind, example(response))
    assert trained(tok, row) == (after if kind == "r1" else response) + ENDS[kind][1]


PIECES = st.sampled_from(["<think>", "</think>", " ", "\n", "word", "A."])


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=6), st.sampled_from(["qwen", "r1"]))
def test_any_response_is_a_row_or_counted(tokenizer: Tokenizers, pieces: list[str], kind: str) -> None:
    tok, response = tokenizer(kind), "".join(pieces)
    found = encode_examples(tok, [example(response)], ends(tok, kind), 10_000, minimum=0)
    assert len(found.rows) + sum(found.dropped.values()) == 1
    if kind == "r1":
        assert bool(found.dropped["no_thought"]) == (
            not response.lstrip().startswith("<think>") and "</think>" not in response
        )


@pytest.mark.parametrize(("kind", "names"), [(kind, [end]) for kind, (_, end) in ENDS.items()])
def test_a_turn_ends_with_the_first_end_token_that_the_template_writes(
    tokenizer: Tokenizers, kind: str, names: list[str]
) -> None:
    tok = tokenizer(kind)
    assert tok.convert_ids_to_tokens(closing_ids(tok, ends(tok, kind))) == names


def with_template(tokenizer: Any, template: str) -> Any:
    import copy

    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


def test_a_template_that_ends_no_turn_gets_the_end_of_sequence(tokenizer: Tokenizers) -> None:
    template = "{% for message in messages %}{{ message['content'] + '\\n' }}{% endfor %}"
    tok = with_template(tokenizer("qwen"), template)
    assert closing_ids(tok, frozenset({tok.eos_token_id})) == [tok.eos_token_id]
    tok.eos_token = None
    with pytest.raises(InputError, match="without an end-of-sequence token"):
        closing_ids(tok, frozenset())


def test_a_template_that_drops_assistant_turns_is_refused(tokenizer: Tokenizers) -> None:
    tok = with_template(tokenizer("qwen"), "{{ messages[0]['content'] }}")
    with pytest.raises(InputError, match="does not render an assistant's turn"):
        closing_ids(tok, ends(tok, "qwen"))


def test_over_long_examples_are_dropped_whole_and_counted(tokenizer: Tokenizers) -> None:
    tok = tokenizer("qwen")
    long, short = example(THOUGHT + " And more." * 20, id_="long"), example(THOUGHT, id_="short")
    [whole] = encode(tok, "qwen", short)
    length = len(whole.input_ids)

    found = encode_examples(tok, [long, short], ends(tok, "qwen"), length)
    assert found.rows == [whole]
    assert found.dropped == {"too_long": 1, "special_token": 0, "altered": 0, "no_thought": 0}
    assert found.tokens == length
    with pytest.raises(StageError, match=r"0 examples are left .*2 too_long"):
        encode_examples(tok, [long, short], ends(tok, "qwen"), length - 1)


@pytest.mark.parametrize("marker", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"])
def test_a_response_that_holds_a_turn_marker_is_dropped(tokenizer: Tokenizers, marker: str) -> None:
    tok = tokenizer("qwen")
    found = encode_examples(
        tok, [example(f"{THOUGHT}{marker}user\nand now?"), example(THOUGHT)], ends(tok, "qwen"), 10_000
    )
    assert len(found.rows) == 1
    assert found.dropped["special_token"] == 1


def test_a_response_that_its_tokens_do_not_spell_is_dropped() -> None:
    from transformers import AutoTokenizer

    from thinksafe.micro.students import student_path

    tok = AutoTokenizer.from_pretrained(student_path("default"))
    known = example("<think> 4 plus 8 is 12. </think> the answer is 12.")
    found = encode_examples(tok, [known, example("zyzzyva")], frozenset({tok.eos_token_id}), 256)
    assert found.dropped == {"too_long": 0, "special_token": 0, "altered": 1, "no_thought": 0}
    assert tok.decode(found.rows[0].input_ids).endswith(known.response + " <eos>")


def test_too_few_examples_are_an_error(tokenizer: Tokenizers) -> None:
    tok = tokenizer("qwen")
    assert encode_examples(tok, [example(THOUGHT)], ends(tok, "qwen"), 10_000, minimum=1).rows
    for examples, minimum in (([], 1), ([example(THOUGHT)], 2)):
        with pytest.raises(StageError, match="examples are left"):
            encode_examples(tok, examples, ends(tok, "qwen"), 10_000, minimum=minimum)


def test_the_served_tokenizer_stays_as_it_was(tokenizer: Tokenizers) -> None:
    tok = tokenizer("r1")
    before = (tok.chat_template, tok.backend_tokenizer.to_str(), tok.pad_token, tok.eos_token)
    encode(tok, "r1", example(THOUGHT))
    assert (tok.chat_template, tok.backend_tokenizer.to_str(), tok.pad_token, tok.eos_token) == before


@given(
    thought=st.text(st.characters(exclude_categories=["Cs"])), answer=st.text(st.characters(exclude_categories=["Cs"]))
)
def test_any_text_is_trained_on_as_it_is_or_not_at_all(tokenizer: Tokenizers, thought: str, answer: str) -> None:
    response = f"<think>\n{thought}\n</think>\n\n{answer}"
    for kind in ("qwen", "r1"):
        tok, end = tokenizer(kind), ENDS[kind][1]
        [row] = encode(tok, kind, example(response))
        text = tok.decode(row.input_ids)
        assert text.endswith(response + end)
        assert len(row.labels) == len(row.input_ids)


def test_the_details_of_train_have_every_reason_for_a_dropped_row() -> None:
    # a reason that they lack would be dropped from the record without a word
    assert {f"dropped_{reason}" for reason in get_args(Drop)} <= set(TrainDetails.model_fields)
