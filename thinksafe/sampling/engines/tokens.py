"""Text to token ids and back, the same way for every engine that runs a model itself."""

from __future__ import annotations

from typing import Any

from thinksafe.models.loading import end_tokens, load_tokenizer
from thinksafe.models.references import ModelReference
from thinksafe.models.templates import check_template, prefilled, tags_of
from thinksafe.sampling.engines.base import Generation, Turn, opening_of
from thinksafe.sampling.lengths import too_long


class Codec:
    """The chat template and vocabulary of a student.

    Raises:
        InputError: the tokenizer cannot serve a student of this kind.
    """

    def __init__(self, model: ModelReference) -> None:
        self.tokenizer = load_tokenizer(model)
        self._name = model.student.model
        check_template(self.tokenizer, model.student.reasoning, self._name)
        self._tags = tags_of(self.tokenizer, model.student.reasoning)
        self._prefilled = prefilled(self.tokenizer)
        self.ends: frozenset[int] = frozenset()
        self.positions = 0
        """Tokens of prompt and response that the model can hold; 0 if unknown."""

    def bind(self, model: Any) -> None:
        """Take the end-of-sequence tokens from a loaded model (anything with a ``generation_config``)."""
        self.ends = end_tokens(model, self.tokenizer, self._name)
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token_id = min(self.ends)

    def encode(self, turns: list[Turn]) -> list[int]:
        """Return the ids of a conversation, up to where the model writes. Raises InputError if they leave no room."""
        ids = self.ids(turns)
        if 0 < self.positions <= len(ids):
            raise too_long("A conversation", len(ids), self.positions)
        return ids

    def ids(self, turns: list[Turn]) -> list[int]:
        """Return the ids of a conversation of any length."""
        if opening := opening_of(turns):
            text = self.tokenizer.apply_chat_template(turns[:-1], add_generation_prompt=True, tokenize=False)
            # a template may open the thought by itself; the opening does so too
            text = text.removesuffix(self._prefilled) + self._tags.written(opening)
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return list(
            self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
        )

    def read(self, ids: list[int], prompt_tokens: int, opening: str = "") -> Generation:
        """Return the response in generated ids; what follows the end-of-sequence token is padding."""
        text, tokens, ended = written(self.tokenizer, ids, self.ends)
        return Generation(
            response=self._tags.canonical((self._tags.written(opening) or self._prefilled) + text),
            finish="stop" if ended else "length", tokens=tokens, prompt_tokens=prompt_tokens,
            ids=tuple(ids[:tokens]),
        )


def written(tokenizer: Any, ids: list[int], ends: frozenset[int]) -> tuple[str, int, bool]:
    """Return the text of generated ids, how many tokens count, and whether an end-of-sequence token is among them."""
    end = next((place for place, token in enumerate(ids) if token in ends), None)
    # special tokens are kept: a response that holds one in its middle must not look like ordinary text
    text = str(tokenizer.decode(ids if end is None else ids[:end], skip_special_tokens=False))
    return text, len(ids) if end is None else end + 1, end is not None
