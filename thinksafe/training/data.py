"""Examples to token ids and labels.

The prompt is rendered by the served chat template; the assistant's turn is not, because templates strip thoughts from
it (R1-Distill always, Qwen3 from history). The response is appended as it was sampled, followed by what the template
writes to end a turn. So the template is never patched, and the model trains on exactly what it would have generated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from thinksafe.errors import InputError, StageError
from thinksafe.models.templates import prefilled, render_prompt, tags_of
from thinksafe.records import Example, Label
from thinksafe.traces import Tags

IGNORED = -100
"""Label of tokens without loss (PyTorch's ``ignore_index``)."""

Drop = Literal["too_long", "special_token", "altered", "no_thought"]
"""Why an example is dropped: it is too long; its response contains a special token (such as a turn marker) that would
end or fake a turn; its tokens do not decode to its text (unknown tokens, normalisation); or it has no think tag at all,
although the template opens a thought."""


@dataclass(frozen=True)
class Row:
    """One example in the trainer's form."""

    id: str
    input_ids: list[int]
    labels: list[int]
    """``IGNORED`` for every prompt token, else equal to ``input_ids``."""
    label: Label
    """The prompt's label; it selects the loss in objectives that have several."""
    prompt: str = ""
    """Text of the prompt, where training itself samples the response: ``input_ids`` end where the model goes on."""


@dataclass(frozen=True)
class Rows:
    """Encoded examples, in order, and how many were dropped for which reason."""

    rows: list[Row]
    dropped: dict[Drop, int]

    @property
    def tokens(self) -> int:
        """Tokens of one epoch, prompts included."""
        return sum(len(row.input_ids) for row in self.rows)


def encode_examples(
    tokenizer: Any, examples: Iterable[Example], ends: frozenset[int], limit: int, minimum: int = 1,
    reasoning: Literal["think", "none"] = "think", room: int = 0,
) -> Rows:
    """Encode examples for training; of those without a response the prompt alone.

    Args:
        tokenizer: The served tokenizer; not changed.
        examples: Accepted examples.
        ends: Ids that end a response (:func:`thinksafe.models.loading.end_tokens`).
        limit: Maximum tokens per row. A longer example is dropped whole, never cut: a cut one would teach the model
            not to stop.
        minimum: Minimum number of rows to return.
        reasoning: Whether responses open with a thought, between the tags of this tokenizer.
        room: Tokens that must be left for the response of an example without one.

    Raises:
        InputError: the template does not end turns.
        StageError: fewer than ``minimum`` rows are left.
    """
    tags, opened, closing = tags_of(tokenizer, reasoning), prefilled(tokenizer), closing_ids(tokenizer, ends)
    special = _special_ids(tokenizer, tags) | ends
    rows: list[Row] = []
    dropped: Counter[Drop] = Counter({"too_long": 0, "special_token": 0, "altered": 0, "no_thought": 0})
    for example in examples:
        prompt = render_prompt(tokenizer, example.prompt)
        if not example.response:
            ids = _ids(tokenizer, prompt)
            if len(ids) + room > limit:
                dropped["too_long"] += 1
            else:
                rows.append(Row(example.id, ids, [IGNORED] * len(ids), example.label, example.prompt))
            continue
        response = _continued(tags.written(example.response), tags, opened)
        if response is None:
            dropped["no_thought"] += 1
            continue
        prompt_ids, response_ids = _split_ids(tokenizer, prompt, response)
        end = closing if example.ends else []
        input_ids = prompt_ids + response_ids + end
        if special.intersection(response_ids):
            dropped["special_token"] += 1
        elif not _decodes(tokenizer, prompt_ids, response_ids, response):
            dropped["altered"] += 1
        elif len(input_ids) > limit:
            dropped["too_long"] += 1
        else:
            labels = [IGNORED] * len(prompt_ids) + response_ids + end
            rows.append(Row(example.id, input_ids, labels, example.label))
    if len(rows) < minimum:
        raise StageError(
            f"{len(rows)} examples are left to train on, {minimum} are needed (dropped: "
            + ", ".join(f"{count} {reason}" for reason, count in dropped.items()) + ").",
            "Raise training.max_length if examples are too long; otherwise give more prompts or samples per prompt.",
        )
    return Rows(rows, dict(dropped))


def closing_ids(tokenizer: Any, ends: frozenset[int]) -> list[int]:
    """Return the tokens that end an assistant's turn: what the template writes up to the first end token.

    If the template writes none, the tokenizer's end-of-sequence token is added.

    Raises:
        InputError: the template does not render the answer, or there is no token to end with.
    """
    answer = "answer-3f9a1c"  # searched for in the rendered text, so it must be unlike anything in a template
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": answer}]
    before, found, after = str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(answer)
    if not found or not before:
        raise InputError(
            f"The chat template of {tokenizer.name_or_path!r} does not render an assistant's turn.",
            "Correct the template in the model's folder.",
        )
    ids = _ids(tokenizer, after)
    place = next((place for place, token in enumerate(ids) if token in ends), None)
    if place is not None:
        return ids[: place + 1]
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"The chat template of {tokenizer.name_or_path!r} ends a turn without an end-of-sequence token.",
            "Set eos_token in its tokenizer_config.json.",
        )
    return [*_ids(tokenizer, after.rstrip()), int(tokenizer.eos_token_id)]


def _special_ids(tokenizer: Any, tags: Tags) -> frozenset[int]:
    """Return the tokens that no response may contain: special ones and the template's turn markers.

    R1-Distill's turn markers are added tokens that are not flagged as special. Think tags are allowed, and an unknown
    token reads differently.
    """
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]
    rendered = set(_ids(tokenizer, str(tokenizer.apply_chat_template(turns, tokenize=False))))
    marks = rendered & set(tokenizer.get_added_vocab().values())
    kept = [ids[0] for tag in (tags.open, tags.close) if len(ids := _ids(tokenizer, tag)) == 1]
    flagged = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    return frozenset({*tokenizer.all_special_ids} | flagged | marks) - {tokenizer.unk_token_id, *kept}


def _continued(response: str, tags: Tags, opened: str) -> str | None:
    """Return what follows the prompt: the response, without the opening tag that the prompt already ends with.

    A response with a closing tag only goes on from that tag. None without any tag: it continues no thought.
    """
    begun = response.lstrip()
    if opened and begun.startswith(tags.open):
        return begun.removeprefix(tags.open).removeprefix(opened.removeprefix(tags.open))
    return None if opened and tags.close not in response else response


def _split_ids(tokenizer: Any, prompt: str, response: str) -> tuple[list[int], list[int]]:
    """Return the ids of prompt and response.

    The prompt's ids are those that generation starts from. The response's come from the joined text, as SentencePiece
    tokenizers put a space before a text of its own, unless a token would span the boundary.
    """
    prompt_ids, joined = _ids(tokenizer, prompt), _ids(tokenizer, prompt + response)
    if joined[: len(prompt_ids)] == prompt_ids:
        return prompt_ids, joined[len(prompt_ids) :]
    return prompt_ids, _ids(tokenizer, response)


def _ids(tokenizer: Any, text: str) -> list[int]:
    # the template has written the special tokens; a second BOS would follow from adding them again
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _decodes(tokenizer: Any, prompt_ids: list[int], response_ids: list[int], response: str) -> bool:
    """Return whether the ids decode to the response, ignoring surrounding white space."""
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    whole = tokenizer.decode(prompt_ids + response_ids, **options)
    prompt = tokenizer.decode(prompt_ids, **options)
    return bool(whole.startswith(prompt) and whole[len(prompt) :].strip() == response.strip())
