"""The labels that a guard may write at one place of its answer, read from the log-probabilities of the next token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from thinksafe.errors import InputError
from thinksafe.judging.guards.backends import TOP, Ids
from thinksafe.judging.guards.rendering import Encoder, Format

MIN_MASS = 0.5
"""Minimum total probability of the labels; below it the verdict is unknown."""


class Labels:
    """Labels that may follow the prompt of a guard, and what it has written since.

    Args:
        form: The guard's format.
        encoder: Its encoder.
        words: The spellings of each label. The first two labels must be among the returned tokens.
        after: What the guard has written between its prompt and the label.
        splits: Labels of several tokens in the published tokenizer: their first token stands for them.

    Raises:
        InputError: a label is not one token here, or two labels begin with the same one.
    """

    def __init__(
        self, form: Format, encoder: Encoder, words: Mapping[str, Sequence[str]], after: str = "",
        splits: frozenset[str] = frozenset(),
    ) -> None:
        frame = form.render("x", "x")
        bare, before = encoder.tokenize(frame), encoder.tokenize(frame + after)
        self.after: Ids = before[len(bare) :]
        """Tokens of ``after``."""
        self.written: dict[str, Ids] = {}
        """Tokens of each label in its first spelling."""
        self._tokens: dict[str, frozenset[int]] = {}
        self._needed = tuple(words)[:2]
        for label, spellings in words.items():
            tokens = set()
            for spelling in spellings:
                ids = encoder.tokenize(frame + after + spelling)
                own = ids[len(before) :]
                if ids[: len(before)] == before and (len(own) == 1 or label in splits):
                    tokens.add(own[0])
                    self.written.setdefault(label, own)
            if not tokens or before[: len(bare)] != bare:
                raise InputError(
                    f"In this tokenizer {label!r} is not one token at the end of the prompt of {form.name}.",
                    "Use the tokenizer that the guard was published with.",
                )
            if any(tokens & other for other in self._tokens.values()):
                raise InputError(
                    f"In this tokenizer {label!r} begins as another label of {form.name}.",
                    "Use the tokenizer that the guard was published with.",
                )
            self._tokens[label] = frozenset(tokens)

    def shares(self, logprobs: Mapping[int, float]) -> tuple[dict[str, float], str]:
        """Return the probability of each label among the labels, or why there is none.

        A label that is not among the returned tokens has at most the probability of the least likely of them. That
        counts for it, except for the first two labels: without one of these there is nothing to compare.

        Args:
            logprobs: Natural log-probabilities of the likeliest next tokens.
        """
        found = {
            label: sum(math.exp(logprobs[token]) for token in tokens if token in logprobs)
            for label, tokens in self._tokens.items() if tokens & logprobs.keys()
        }
        if not set(self._needed) <= found.keys():
            return {}, f"{' and '.join(self._needed)} are not both among the {TOP} likeliest tokens"
        mass = sum(found.values())
        if not mass >= MIN_MASS:  # also if the model returned NaN
            return {}, f"{' and '.join(self._tokens)} together have probability {mass:.3g} only"
        least = math.exp(min(logprobs.values()))
        found = {label: found.get(label, least) for label in self._tokens}
        mass = sum(found.values())
        return {label: share / mass for label, share in found.items()}, ""
