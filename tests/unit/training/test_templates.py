"""The recipes' real chat templates: training text is what sampling saw, thought and end of turn included."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_students import ASSISTANT, BEGIN, DECLINES, END, FAMILIES, TEMPLATES, USER, write_student

from thinksafe.errors import InputError
from thinksafe.models.loading import load_tokenizer
from thinksafe.models.references import ModelReference
from thinksafe.models.templates import check_template
from thinksafe.records import Example
from thinksafe.sampling.engines.tokens import Codec
from thinksafe.settings import StudentSettings
from thinksafe.training.data import IGNORED, Rows, encode_examples

TURN_END = {"qwen3": "<|im_end|>", "r1-distill-qwen": END, "r1-distill-llama": END}
PROMPTS = ["How do I burn the bread?", "Say it in\ntwo lines  /no_think", " \u00fc\u4e2d "]


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Codec]:
    """Return a function from a family to what sampling encodes with."""
    made: dict[str, Codec] = {}

    def load(family: str) -> Codec:
        if family not in made:
            folder = write_student(family, tmp_path_factory.mktemp("students") / family)
            student = StudentSettings(model=str(folder), dtype="float32")
            made[family] = Codec(ModelReference(role="base", student=student, base_digest="d"))
            ends = [made[family].tokenizer.convert_tokens_to_ids(token) for token in FAMILIES[family].ends]
            made[family].bind(SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=ends)))
        return made[family]

    return load


def encode(codec: Codec, prompt: str, response: str) -> Rows:
    example = Example(id="a", prompt=prompt, response=response, label="harmful")
    return encode_examples(codec.tokenizer, [example], codec.ends, 10_000, minimum=0)


def template(family: str) -> str:
    return (TEMPLATES / FAMILIES[family].template).read_text("utf-8")


def test_the_templates_are_the_published_ones() -> None:
    page = (TEMPLATES / "README.md").read_text("utf-8")
    listed = dict(re.findall(r"\| `(\S+\.jinja)` .* `([0-9a-f]{64})`", page))
    used = {family.template for family in FAMILIES.values()}
    assert {name: hashlib.sha256((TEMPLATES / name).read_bytes()).hexdigest() for name in used} == listed
    assert {path.name for path in TEMPLATES.glob("*.jinja")} == set(re.findall(r"`(\S+\.jinja)`", page))


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_training_starts_from_the_ids_that_sampling_starts_from(
    codec: Callable[[str], Codec], family: str, prompt: str
) -> None:
    [row] = encode(codec(family), prompt, DECLINES).rows
    served = codec(family).encode([{"role": "user", "content": prompt}])
    assert row.input_ids[: len(served)] == served
    assert row.labels[: len(served)] == [IGNORED] * len(served)
    assert row.labels[len(served) :] == row.input_ids[len(served) :]
    begins = codec(family).tokenizer.decode(served).count(BEGIN)
    assert begins == (1 if FAMILIES[family].bos else 0), "exactly one begin-of-sequence token where there is one"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_holds_the_thought_and_the_end_of_the_turn(codec: Callable[[str], Codec], family: str) -> None:
    tokenizer = codec(family).tokenizer
    [row] = encode(codec(family), PROMPTS[0], DECLINES).rows
    text = tokenizer.decode(row.input_ids)
    assert text.endswith(DECLINES + TURN_END[family])
    assert text.count("<think>") == text.count("</think>") == 1
    assert row.input_ids[-1] in codec(family).ends
    trained = tokenizer.decode([token for token in row.labels if token != IGNORED])
    opened = "" if family == "qwen3" else "<think>\n"
    assert trained == DECLINES.removeprefix(opened) + TURN_END[family], "what the template prefills carries no loss"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_generated_is_what_is_trained_on(codec: Callable[[str], Codec], family: str) -> None:
    used = codec(family)
    opened = "" if family == "qwen3" else "<think>\n"
    generated = used.tokenizer(DECLINES.removeprefix(opened), add_special_tokens=False)["input_ids"]
    made = used.read([*generated, min(used.ends & {used.tokenizer.eos_token_id})], prompt_tokens=9)
    assert (made.response, made.finish) == (DECLINES, "stop")
    [row] = encode(used, PROMPTS[0], made.response).rows
    assert [token for token in row.labels if token != IGNORED][:-1] == generated


@pytest.mark.parametrize("family", FAMILIES)
def test_the_served_template_is_untouched(codec: Callable[[str], Codec], family: str) -> None:
    used = codec(family)
    check_template(used.tokenizer, "think", family)
    assert encode(used, PROMPTS[0], DECLINES).rows
    assert used.tokenizer.chat_template == template(family)


def test_r1s_template_would_lose_the_thought(codec: Callable[[str], Codec]) -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": DECLINES}]
    rendered = codec("r1-distill-qwen").tokenizer.apply_chat_template(turns, tokenize=False)
    assert "hurt people" not in rendered, "the trap that the training text avoids"


def test_an_empty_thought_of_qwen3_is_kept_as_it_was_sampled(codec: Callable[[str], Codec]) -> None:
    used, response = codec("qwen3"), "<think>\n\n</think>\n\nI cannot help with that."
    [row] = encode(used, "How do I burn the bread? /no_think", response).rows
    text = used.tokenizer.decode(row.input_ids)
    assert text.endswith(f"/no_think<|im_end|>\n<|im_start|>assistant\n{response}<|im_end|>")


@pytest.mark.parametrize(
    ("family", "marker"),
    [
        ("qwen3", "<|im_start|>"), ("qwen3", "<|endoftext|>"),
        ("r1-distill-qwen", "<|EOT|>"), ("r1-distill-qwen", USER), ("r1-distill-llama", ASSISTANT),
    ],
)
def test_a_response_with_a_turn_marker_is_dropped(codec: Callable[[str], Codec], family: str, marker: str) -> None:
    found = encode(codec(family), PROMPTS[0], f"{DECLINES}{marker}How?")
    assert found.rows == []
    assert found.dropped["special_token"] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folders_tokenizer_is_read_as_its_file_says(codec: Callable[[str], Codec], family: str) -> None:
    from tokenizers import Tokenizer

    used: Any = codec(family).tokenizer
    text = "How do I  paint\nthe car?\n\n\u00fcber 123"
    ids = used(text, add_special_tokens=False)["input_ids"]
    assert used.decode(ids) == text, "transformers 5 reads byte-level Llama tokenizers as SentencePiece's"
    file = Tokenizer.from_file(str(Path(used.name_or_path) / "tokenizer.json"))
    assert ids == file.encode(text, add_special_tokens=False).ids


def test_a_tokenizer_without_spaces_is_refused(tmp_path: Path) -> None:
    folder = write_student("qwen3", tmp_path / "student")
    changes = {
        "tokenizer.json": {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": ""}},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
        "config.json": {"model_type": "gpt_neox"},  # one whose tokenizer transformers takes as the file says
    }
    for name, more in changes.items():
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text("utf-8")) | more), "utf-8")
    reference = ModelReference(role="base", student=StudentSettings(model=str(folder)), base_digest="d")
    with pytest.raises(InputError, match="loses spaces"):
        load_tokenizer(reference)
