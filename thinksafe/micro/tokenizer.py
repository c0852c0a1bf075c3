"""The students' tokenizer: one token per word, built from the texts of the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from thinksafe.micro import language, responses

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["CHAT_TEMPLATE", "SPECIAL_TOKENS", "build_tokenizer", "vocabulary"]

SPECIAL_TOKENS = ("<pad>", "<eos>", "<unk>", "<user>", "<assistant>")

# The students never saw a system turn, so its text goes in front of the first user turn, where it can still be read.
# The generation markers let a trainer find the assistant's tokens; rendering drops them.
CHAT_TEMPLATE = (
    "{%- set system = messages[0]['content'] + '\\n\\n' if messages[0]['role'] == 'system' else '' -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{ '<user> ' + (system if loop.index0 == 1 else '') + message['content'] + ' ' }}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{ '<assistant> ' }}{% generation %}{{ message['content'] + ' <eos>' }}{% endgeneration %}"
    "{{ '' if loop.last else ' ' }}"
    "{%- elif not loop.first -%}"
    "{{ raise_exception('only user and assistant turns may follow the first turn') }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<assistant> ' }}{%- endif -%}"
)

_TOKEN = r"</?think>|[a-z]+|[0-9]+|[^\sa-z0-9]"  # noqa: S105 - a pattern, not a secret


def _texts() -> Iterator[str]:
    yield language.STEERING
    yield from (opening + closing for opening, closing in language.FRAMES)
    yield from language.SUFFIXES + language.PLUS_PHRASES + language.MINUS_PHRASES
    yield from language.NAMES + language.ITEMS + language.PLAIN_VERBS + language.PLAIN_OBJECTS
    for category in language.CATEGORIES:
        yield from category.verbs + category.harmful_objects + category.safe_objects
        yield from (category.harmful_kind, category.safe_kind)
    yield "has later then near the how many does have plus minus is the answer"
    yield from responses.PHRASES
    yield " ".join(str(number) for number in range(language.LARGEST_NUMBER + 1))


def vocabulary() -> list[str]:
    """Return every token of the world, special tokens first, the rest sorted; no token twice."""
    words = {word for text in _texts() for word in re.findall(_TOKEN, text.lower())} - {"{", "}"}
    return [*SPECIAL_TOKENS, *sorted(words)]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: lower case, split at white space and punctuation, `<think>` and `</think>` ordinary words.

    Decoding puts single spaces between words and none before punctuation, which restores a response text exactly.
    """
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(
        WordLevel({token: index for index, token in enumerate(vocabulary())}, unk_token="<unk>")  # noqa: S106
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), behavior="removed", invert=True)
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        pad_token="<pad>",  # noqa: S106
        eos_token="<eos>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        extra_special_tokens=["<user>", "<assistant>"],
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
