"""A guard's prompt as token ids: two untrusted texts in a fixed frame, within the guard's context.

The whole prompt is rendered as text and tokenized once, as the guard's publishers do, because tokens can span the seams
between frame and text. That is safe only after :mod:`thinksafe.judging.guards.neutralise`, and is checked afterwards:
the control tokens among the ids must be those of the frame, in its order. Nothing adds a second begin-of-sequence
token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from thinksafe.digests import digest_bytes
from thinksafe.errors import InputError
from thinksafe.judging.guards.neutralise import Neutraliser

MARKER = "\n[... the middle of this text is left out ...]\n"
"""Marks where a response was shortened."""
LEAST = 64
"""Minimum tokens left of a shortened response; a verdict on less would be on a text that nobody read."""
REPLY = 4000
"""Characters of an earlier reply that a guard sees; the middle of a longer one is left out."""


@dataclass(frozen=True)
class Format:
    """A guard's prompt format, from ``thinksafe/data/guards``."""

    name: str
    opening: str
    """Everything before the prompt."""
    between: str
    """Everything between prompt and response."""
    again: str
    """Everything between a response and the next prompt of the same conversation."""
    closing: str
    """Everything after the response, up to where the guard's answer starts."""
    before_verdict: str
    """End of ``closing`` that the guard's own template leaves to the model."""
    strip: bool
    """Whether white space around both texts is dropped."""
    delimiters: tuple[str, ...]
    labels: tuple[str, ...]
    digest: str
    """Digest of what the format is made from: the data file and, if it has one, the policy and the chat template."""
    begins: bool = True
    """The prompt itself holds the tokenizer's begin-of-sequence token, once."""

    def render(self, prompt: str, response: str) -> str:
        """Return the guard's prompt for two texts, neither neutralised nor shortened."""
        return self.frame(self.stripped(prompt), self.stripped(response))

    def stripped(self, text: str) -> str:
        """Return a text in the form that the guard's format expects."""
        return text.strip() if self.strip else text

    def frame(self, prompt: str, response: str) -> str:
        """Return the guard's prompt around two texts in the form that the format expects."""
        return f"{self.opening}{prompt}{self.between}{response}{self.closing}"


@cache
def read_fields(name: str) -> tuple[dict[str, Any], str]:
    """Return the fields of a guard's data file, and the SHA-256 of the file."""
    import yaml

    data = (resources.files("thinksafe") / "data" / "guards" / f"{name}.yaml").read_bytes()
    return yaml.safe_load(data), digest_bytes(data)


@cache
def load_format(name: str) -> Format:
    """Return the format of the guard ``name`` as its data file has it, whatever the tokenizer."""
    fields, digest = read_fields(name)
    opening, between, closing = split_template(fields["template"])
    return Format(
        name, opening, between, fields["again"], closing + fields["before_verdict"], fields["before_verdict"],
        fields["strip"], tuple(fields["delimiters"]), tuple(fields["labels"]), digest,
    )


def split_template(template: str) -> tuple[str, str, str]:
    """Return what a template has before the prompt, between prompt and response, and after the response."""
    opening, rest = template.split("{prompt}")
    between, closing = rest.split("{response}")
    return opening, between, closing


@dataclass(frozen=True)
class Encoded:
    """A guard's prompt, or the reason why there is none."""

    ids: tuple[int, ...] = ()
    shortened: bool = False
    """The response, or an earlier reply, was shortened."""
    reason: str = ""
    """Why there is no prompt; empty if there is one."""


class Encoder:
    """Turns (prompt, response) into token ids.

    Args:
        form: The guard's format.
        tokenizer: The guard's tokenizer; must give character offsets.
        limit: Maximum number of ids in a prompt, at least 1.

    Raises:
        InputError: the tokenizer does not fit the format.
    """

    def __init__(self, form: Format, tokenizer: Any, limit: int) -> None:
        if not tokenizer.is_fast:
            raise InputError(f"The tokenizer of the guard {form.name} has no tokenizer.json.", "Copy the whole model.")
        self._form, self._tokenizer, self._limit = form, tokenizer, limit
        added = tokenizer.added_tokens_decoder
        self._control = frozenset(i for i, token in added.items() if token.special or token.content.strip())
        tokens = [token.content for token in added.values()]
        self.neutralise = Neutraliser(form.delimiters, form.labels, tokens)
        frame = self.tokenize(form.render("x", "x"))
        if form.begins and tokenizer.bos_token_id is not None and (found := frame.count(tokenizer.bos_token_id)) != 1:
            raise InputError(
                f"The prompt of the guard {form.name} has {found} begin-of-sequence tokens with this tokenizer.",
                "Use the tokenizer that the guard was published with.",
            )
        self._frames: dict[int, list[int]] = {}

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text, control tokens parsed, none added."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, prompt: str, response: str, earlier: Sequence[tuple[str, str]] = ()) -> Encoded:
        """Return the guard's prompt for an untrusted prompt and response.

        A response that is too long keeps its head and its tail, as do long earlier replies; prompts and the frame are
        never cut.

        Args:
            prompt: What the user said last.
            response: The text to judge.
            earlier: The user's earlier turns, and the model's reply to each.
        """
        form = self._form
        prompt, response = form.stripped(self.neutralise(prompt)), form.stripped(self.neutralise(response))
        expected = self._expected(len(earlier))
        cut = any(len(reply) > REPLY for _, reply in earlier)
        for said, reply in reversed(earlier):
            said, reply = (form.stripped(self.neutralise(text)) for text in (said, _brief(reply)))
            prompt = f"{said}{form.between}{reply}{form.again}{prompt}"
        ids = self.tokenize(form.frame(prompt, response))
        shortened = len(ids) > self._limit
        if shortened:
            found = self._shorten(prompt, response)
            if found is None:
                return Encoded(reason="the prompt leaves too little of the guard's context for the response")
            ids = found
        if self._controls(ids) != expected:
            return Encoded(reason="the text holds a control token of the guard that cannot be broken")
        return Encoded(ids, shortened or cut)

    def _shorten(self, prompt: str, response: str) -> tuple[int, ...] | None:
        found = self._tokenizer(response, add_special_tokens=False, return_offsets_mapping=True)
        spans = found["offset_mapping"]
        keep = self._limit - len(self.tokenize(self._form.frame(prompt, self._form.stripped(MARKER))))
        keep = min(keep, len(spans) - 1)  # something is left out
        while keep >= LEAST:
            head, tail = spans[: keep - keep // 2], spans[-(keep // 2) :]
            # the cut may move a label to the start of a line
            text = self._form.stripped(self.neutralise(response[: head[-1][1]] + MARKER + response[tail[0][0] :]))
            ids = self.tokenize(self._form.frame(prompt, text))
            if len(ids) <= self._limit:
                return ids
            keep -= len(ids) - self._limit  # the estimate does not include tokens at the seams, and breaks
        return None

    def _expected(self, earlier: int) -> list[int]:
        """Return the control tokens of a prompt with so many earlier exchanges, all of harmless text."""
        if earlier not in self._frames:
            form = self._form
            said = f"x{form.between}x{form.again}" * earlier
            self._frames[earlier] = self._controls(self.tokenize(form.frame(f"{said}x", "x")))
        return self._frames[earlier]

    def _controls(self, ids: tuple[int, ...]) -> list[int]:
        return [token for token in ids if token in self._control]


def _brief(reply: str) -> str:
    half = REPLY // 2
    return reply if len(reply) <= REPLY else reply[:half] + MARKER + reply[-half:]
