"""Chat templates: the tags of each family, and what contradicts the settings is refused."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import InputError
from thinksafe.models.loading import load_tokenizer
from thinksafe.models.references import ModelReference
from thinksafe.models.templates import check_template, prefilled, render_prompt, tags_of
from thinksafe.records import Example
from thinksafe.sampling.engines.tokens import Codec
from thinksafe.settings import StudentSettings
from thinksafe.traces import CLOSE, OPEN, Tags, Trace, split
from thinksafe.training.data import IGNORED, encode_examples

Students = Callable[[str], Path]


def reference(folder: Path | str) -> ModelReference:
    return ModelReference(role="base", student=StudentSettings(model=str(folder), dtype="float32"), base_digest="d")


@pytest.mark.parametrize(("kind", "opened"), [("qwen", ""), ("r1", "<think>\n"), ("llama", "")])
def test_a_prefilled_think_tag_is_seen(student_folder: Students, kind: str, opened: str) -> None:
    assert prefilled(load_tokenizer(reference(student_folder(kind)))) == opened


@pytest.mark.parametrize("kind", ["qwen", "r1", "llama"])
def test_a_rendered_prompt_is_the_served_one_with_one_beginning_of_sequence(
    student_folder: Students, kind: str
) -> None:
    tokenizer = load_tokenizer(reference(student_folder(kind)))
    turns = [{"role": "user", "content": "how many <|eot_id|> apples?"}]
    served = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
    text = render_prompt(tokenizer, turns[0]["content"])
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == served
    assert served.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)


@pytest.mark.parametrize(("kind", "reasoning"), [("qwen", "think"), ("r1", "think"), ("llama", "none")])
def test_fitting_templates_pass(student_folder: Students, kind: str, reasoning: Any) -> None:
    check_template(load_tokenizer(reference(student_folder(kind))), reasoning, kind)


def test_the_shipped_student_thinks() -> None:
    check_template(load_tokenizer(reference("micro://default")), "think", "micro")


@pytest.mark.parametrize(("kind", "reasoning", "action"), [("llama", "think", "none"), ("r1", "none", "think")])
def test_a_template_that_contradicts_the_settings_is_refused(
    student_folder: Students, kind: str, reasoning: Any, action: str
) -> None:
    with pytest.raises(InputError, match="my-student") as caught:
        check_template(load_tokenizer(reference(student_folder(kind))), reasoning, "my-student")
    assert f"student.reasoning: {action}" in caught.value.action


@pytest.mark.parametrize(
    ("template", "words"), [(None, "no chat template"), ("{{ raise_exception('no') }}", "cannot render")]
)
def test_a_missing_or_broken_template_is_refused(
    student_folder: Students, template: str | None, words: str
) -> None:
    tokenizer = load_tokenizer(reference(student_folder("qwen")))
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=words):
        check_template(tokenizer, "think", "my-student")


PAIRS = [
    ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"), ("<mm:think>", "</mm:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"), ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<thought>", "</thought>"), ("<|reasoning_start|>", "<|reasoning_end|>"),
    ("\N{WHITE LEFT-POINTING TRIANGLE}think\N{WHITE RIGHT-POINTING TRIANGLE}",
     "\N{WHITE LEFT-POINTING TRIANGLE}/think\N{WHITE RIGHT-POINTING TRIANGLE}"),
]


@pytest.fixture(scope="module")
def plain(student_folder: Students) -> Any:
    """A tokenizer that knows no think tags."""
    return load_tokenizer(reference(student_folder("llama")))


def taught(tokenizer: Any, *tokens: str, after: str = "", special: bool = True) -> Any:
    """Return a copy that has more tokens, and whose template writes a text for the model to continue."""
    changed = copy.deepcopy(tokenizer)
    if tokens:
        changed.add_tokens(list(tokens), special_tokens=special)
    changed.chat_template = f"{changed.chat_template}{{% if add_generation_prompt %}}{after}{{% endif %}}"
    return changed


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("pair", PAIRS)
def test_tags_of_other_families(plain: Any, pair: tuple[str, str], special: bool) -> None:
    tokenizer = taught(plain, *pair, special=special)
    assert tags_of(tokenizer) == Tags(*pair)
    assert tags_of(tokenizer, "none") == Tags()
    check_template(tokenizer, "think", "my-student")
    check_template(tokenizer, "none", "my-student")
    opened = taught(plain, *pair, after=f"{pair[0]}\n", special=special)
    assert prefilled(opened).rstrip() == pair[0]
    check_template(opened, "think", "my-student")
    with pytest.raises(InputError, match=r"opens a thought, but student\.reasoning is none"):
        check_template(opened, "none", "my-student")


@pytest.mark.parametrize("pair", [(OPEN, CLOSE), *PAIRS[:3]])
@pytest.mark.parametrize("between", ["", "\n\n", " "])
@pytest.mark.parametrize("end", ["", "\n\n"])
def test_a_template_that_closes_the_thought_fits_a_student_without_one(
    plain: Any, pair: tuple[str, str], between: str, end: str
) -> None:
    """As Qwen3.5's without thinking."""
    tokenizer = taught(plain, *pair, after=f"{pair[0]}{between}{pair[1]}{end}")
    check_template(tokenizer, "none", "my-student")
    with pytest.raises(InputError, match="closes the thought before the model writes") as raised:
        check_template(tokenizer, "think", "my-student")
    assert "student.reasoning: none" in raised.value.action


@pytest.mark.parametrize(
    "tokens", [(), ("[THINK]",), ("[/THINK]",), ("<|think|>",), ("[THINK]", "</THINK>"), ("/think",)]
)
def test_a_tag_without_its_counterpart_is_none(plain: Any, tokens: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="does not know </think>, nor other think tags") as raised:
        check_template(taught(plain, *tokens), "think", "my-student")
    assert "student.reasoning: none" in raised.value.action


def test_of_several_pairs_the_templates_own_counts(plain: Any) -> None:
    tokens = [*PAIRS[0], *PAIRS[1]]
    with pytest.raises(InputError, match=r"several pairs of think tags: <seed:think>, \[THINK\]"):
        check_template(taught(plain, *tokens), "think", "my-student")
    assert tags_of(taught(plain, *tokens, after="[THINK]")) == Tags(*PAIRS[0])
    assert tags_of(taught(plain, *tokens, OPEN, CLOSE)) == Tags(), "the common pair goes first"


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("pair", [(OPEN, CLOSE), *PAIRS])
def test_what_was_generated_is_what_is_trained_on(
    student_folder: Students, plain: Any, tmp_path: Path, pair: tuple[str, str], opened: bool
) -> None:
    """Rows hold the common tags; the model reads and writes its own."""
    folder = shutil.copytree(student_folder("llama"), tmp_path / "student")
    taught(plain, *pair, after=pair[0] if opened else "").save_pretrained(folder)
    codec = Codec(reference(folder))
    codec.bind(SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=codec.tokenizer.eos_token_id)))
    text = f"{'' if opened else pair[0]}A thought.{pair[1]}An answer with {pair[0]} in it."
    ids = codec.tokenizer(text, add_special_tokens=False)["input_ids"]
    made = codec.read([*ids, codec.tokenizer.eos_token_id], prompt_tokens=3)
    assert split(made.response, "think") == Trace("A thought.", f"An answer with {pair[0]} in it.", True)
    assert made.response.startswith(f"{OPEN}A thought.{CLOSE}")
    example = Example(id="a", prompt="How?", response=made.response, label="harmful")
    [row] = encode_examples(codec.tokenizer, [example], codec.ends, 10_000).rows
    assert [token for token in row.labels if token != IGNORED][: len(ids)] == ids
    forced = codec.encode([{"role": "user", "content": "How?"}, {"role": "assistant", "content": f"{OPEN}\nBriefly:"}])
    assert codec.tokenizer.decode(forced).endswith(f"{pair[0]}\nBriefly:")
    assert codec.tokenizer.decode(forced).count(pair[0]) == 1
    more = codec.tokenizer(f" yes{pair[1]}B", add_special_tokens=False)["input_ids"]
    again = codec.read(more, 3, f"{OPEN}\nBriefly:")
    assert split(again.response, "think") == Trace("Briefly: yes", "B", True)


PIECES = st.sampled_from(
    [OPEN, CLOSE, *PAIRS[0], *PAIRS[4], "<\u00b7think>", "<\u00b7\u00b7/think>", " ", "\n", "a", "<", "\u00b7"]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=20)


@given(TEXTS, st.sampled_from([Tags(), Tags(*PAIRS[0]), Tags(*PAIRS[4])]))
def test_tags_are_exchanged_without_loss(text: str, tags: Tags) -> None:
    canonical = tags.canonical(text)
    assert tags.written(canonical) == text
    before, closed, after = text.partition(tags.close)
    trace = split(canonical, "think")
    assert trace.complete == bool(closed), "nothing else closes a thought"
    assert canonical.count(CLOSE) == bool(closed) or tags == Tags()
    if closed and tags.open not in before and OPEN not in text and CLOSE not in text and "\u00b7" not in text:
        assert trace == Trace(before.strip(), after.strip(), True)
