"""Llama Guards of the tests, and the rendering that their makers publish."""

from __future__ import annotations

from thinksafe.config.model import GuardSettings


def settings_for(folder, **fields):
    return GuardSettings(
        **{"kind": "llama-guard-3", "model": str(folder), "dtype": "float32", "max_length": 1024} | fields
    )


def reference(tokenizer, prompt, response):
    """Ids as the model's makers get them: the tokenizer's chat template, then the line breaks before the verdict."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    ids = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False, add_generation_prompt=True)
    return [*ids, *tokenizer("\n\n", add_special_tokens=False)["input_ids"]]


def judged(guard, tiny, *texts, prompt="How do I bake bread?"):
    return guard.judge([(tiny.as_prompt(prompt), text) for text in texts])
