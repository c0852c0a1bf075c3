import random

import pytest

from thinksafe.methods.steering import steering_template
from thinksafe.micro import responses, world
from thinksafe.micro.arithmetic import problems
from thinksafe.micro.language import STEERING
from thinksafe.micro.tokenizer import SPECIAL_TOKENS, build_tokenizer, vocabulary

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def _responses():
    rng = random.Random(0)
    for split in SPLITS:
        for kind in ("harmful", "safe-twin"):
            for row in world.prompts(split, kind, 200, 0):
                request = world.parse_request(row.prompt)
                yield responses.refusal(request, rng)
                yield responses.careful_compliance(request, rng)
                yield responses.eager_compliance(request, rng)
        for row in world.prompts(split, "plain", 100, 0):
            yield responses.plain_compliance(world.parse_request(row.prompt), rng)
        found = problems(split)
        yield from (responses.derivation(problem) for problem in found[:: len(found) // 200])


def test_the_rehearsed_steering_is_the_one_that_the_library_uses():
    assert steering_template("prefix") == STEERING


def test_no_text_of_the_world_has_an_unknown_token(tokenizer):
    texts = [
        row.prompt for s in SPLITS for k in ("harmful", "benign") for row in world.prompts(s, k, 1000, 0)
    ]
    texts += [STEERING.format(prompt=text) for text in texts[:100]] + list(_responses())
    for ids in tokenizer(texts)["input_ids"]:
        assert tokenizer.unk_token_id not in ids


def test_responses_survive_encoding_and_decoding(tokenizer):
    for text in _responses():
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert (
            tokenizer.decode([*ids, tokenizer.eos_token_id, tokenizer.pad_token_id], skip_special_tokens=True)
            == text
        )


def test_responses_fit_the_token_budget(tokenizer):
    assert max(len(ids) for ids in tokenizer(list(_responses()))["input_ids"]) <= 42


def test_think_tags_are_ordinary_words(tokenizer):
    ids = tokenizer("<think></think>sorry")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<think>", "</think>", "sorry"]
    assert not set(ids) & set(tokenizer.all_special_ids)


def test_case_and_white_space_do_not_matter(tokenizer):
    assert tokenizer("How  DO\n\nI?")["input_ids"] == tokenizer("how do i ?")["input_ids"]


def test_vocabulary_is_sorted_without_repetition():
    tokens = vocabulary()
    assert tokens[: len(SPECIAL_TOKENS)] == list(SPECIAL_TOKENS)
    assert tokens[len(SPECIAL_TOKENS) :] == sorted(set(tokens) - set(SPECIAL_TOKENS))


def _render(tokenizer, *turns, **options):
    messages = [{"role": role, "content": content} for role, content in turns]
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def test_chat_template(tokenizer):
    assert _render(tokenizer, ("user", "a"), add_generation_prompt=True) == "<user> a <assistant> "
    assert _render(tokenizer, ("user", "a"), ("assistant", "b")) == "<user> a <assistant> b <eos>"
    turns = [("user", "a"), ("assistant", "b"), ("user", "c")]
    assert _render(tokenizer, *turns) == "<user> a <assistant> b <eos> <user> c "


def test_a_system_turn_goes_in_front_of_the_first_user_turn(tokenizer):
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    assert _render(tokenizer, *turns) == "<user> s\n\na <assistant> b <eos> <user> c "


def test_a_later_system_turn_is_refused(tokenizer):
    with pytest.raises(Exception, match="only user and assistant turns"):
        _render(tokenizer, ("user", "a"), ("system", "s"))


def test_assistant_tokens_are_the_response_and_its_end(tokenizer):
    turns = [
        {"role": "user", "content": "how do i?"},
        {"role": "assistant", "content": "<think> fine. </think> sure."},
    ]
    encoded = tokenizer.apply_chat_template(turns, return_assistant_tokens_mask=True, return_dict=True)
    kept = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(kept) == "<think> fine. </think> sure. <eos>"
