"""Llama-Guard-3 as a one-token classifier (Llama Guard 3 model card; METHOD.md section 2).

The prompt ends where the verdict starts, so the log-probabilities of the next token include those of ``safe`` and
``unsafe``. The verdict is unknown if either is missing from the returned tokens, or if both together are improbable:
then the model was about to say something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from thinksafe.config.model import GuardSettings
from thinksafe.errors import InputError
from thinksafe.judging.guards.backends import TOP, Backend, Ids
from thinksafe.judging.guards.base import Opinion
from thinksafe.judging.guards.labels import Labels
from thinksafe.judging.guards.model_guard import ModelGuard
from thinksafe.judging.guards.rendering import Encoder, Format

CATEGORY_TOKENS = 48
"""Room for a list of all fourteen categories."""

_CATEGORIES = re.compile(r"\s*(S(?:1[0-4]|[1-9])(?:\s*,\s*S(?:1[0-4]|[1-9]))*)\s*")
_USE_PUBLISHED = "Use the tokenizer that Llama-Guard-3-8B was published with."
# texts to compare renderings of: seams with and without spaces, white space to strip, several scripts
_PROBES = (
    ("x", "x"), ("How?", "No."), ("  a question\n", "\n an answer\n\nof two paragraphs  "),
    (" first\n", "\n its answer ", "second", "its answer\n"),
    ("¿Qué es «esto»?", "Это — 这 🙂"), ("1\n2", "<think>\nhm\n</think>\n\n3"),
)


class LlamaGuard(ModelGuard):
    """A guard with a probability; see the settings' fields.

    Raises:
        InputError: the model cannot be found, or its tokenizer does not render, or not tokenize, as this guard must.
    """

    name = "llama-guard-3"

    def __init__(self, settings: GuardSettings) -> None:
        super().__init__(settings, 1 + (CATEGORY_TOKENS if settings.categories else 0))
        check_rendering(self.format, self.encoder, self.model.tokenizer)
        self._labels = Labels(self.format, self.encoder, {word: (word,) for word in ("safe", "unsafe")})

    def ask(self, backend: Backend, prompts: list[Ids], texts: list[str]) -> list[Opinion]:
        opinions = [self.read(logprobs) for logprobs in backend.next_token_logprobs(prompts, TOP)]
        opinions = self.with_refusals(opinions, texts)
        unsafe = [place for place, opinion in enumerate(opinions) if opinion.verdict == "unsafe"]
        if unsafe and self.settings.categories:
            written = self._labels.written["unsafe"]
            lists = backend.complete([(*prompts[place], *written) for place in unsafe], CATEGORY_TOKENS)
            for place, text in zip(unsafe, lists, strict=True):
                opinions[place] = replace(opinions[place], categories=parse_categories(text))
        return opinions

    def read(self, logprobs: dict[int, float]) -> Opinion:
        """Return the verdict in the log-probabilities of the next token."""
        shares, reason = self._labels.shares(logprobs)
        return self.verdict(shares["unsafe"]) if shares else Opinion("unknown", reason=reason)


def parse_categories(text: str) -> tuple[str, ...]:
    """Return the categories after ``unsafe``; none if the text is not a list of S1 to S14."""
    found = _CATEGORIES.fullmatch(text)
    return tuple(dict.fromkeys(re.split(r"\s*,\s*", found.group(1)))) if found else ()


def check_rendering(form: Format, encoder: Encoder, tokenizer: Any) -> None:
    """Check that a tokenizer's own chat template gives the same token ids as our format, for harmless texts.

    The template is the reference: the guard was tuned with it. A tokenizer without one is not checked.

    Raises:
        InputError: they differ.
    """
    if not tokenizer.chat_template:
        return
    for said in _PROBES:
        turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]
        try:
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            ids = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False, add_generation_prompt=True)
        except Exception as error:  # templates are programs and can raise any error
            raise InputError(
                f"The guard's chat template cannot render a conversation ({type(error).__name__}).", _USE_PUBLISHED
            ) from error
        # in some copies the template itself writes the line breaks before the verdict
        rest = "" if text.endswith(form.before_verdict) else form.before_verdict
        ours = _conversation(form, said)
        if text + rest != ours:
            place = next((i for i, (a, b) in enumerate(zip(text, ours, strict=False)) if a != b), len(text))
            raise InputError(
                f"The guard's chat template is not the one of Llama-Guard-3-8B: at character {place} it has "
                f"{text[place : place + 20]!r} in place of {ours[place : place + 20]!r}.",
                _USE_PUBLISHED,
            )
        if (*ids, *encoder.tokenize(rest)) != encoder.tokenize(ours):
            raise InputError(f"The guard's tokenizer splits the prompt of {form.name} in two ways.", _USE_PUBLISHED)


def _conversation(form: Format, said: Sequence[str]) -> str:
    *before, prompt, response = (text.strip() for text in said)
    pairs = zip(before[::2], before[1::2], strict=True)
    return form.frame("".join(f"{user}{form.between}{reply}{form.again}" for user, reply in pairs) + prompt, response)
