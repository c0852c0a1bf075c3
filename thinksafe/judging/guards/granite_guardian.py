"""Granite Guardian 3.3 and 4.1 (arXiv:2412.07724): does the response meet one criterion, yes or no?

The criterion is harm in general, or the team's own policy. The guard is asked not to think: its thought is given to it
empty, with the opening tag of the score, so that the next token is the answer.
"""

from __future__ import annotations

from thinksafe.config.model import GuardSettings
from thinksafe.config.policy import read_policy
from thinksafe.judging.guards.backends import TOP, Backend, Ids
from thinksafe.judging.guards.base import Opinion
from thinksafe.judging.guards.labels import Labels
from thinksafe.judging.guards.model_guard import ModelGuard
from thinksafe.judging.guards.rendering import Format
from thinksafe.judging.guards.templates import own_format


class GraniteGuardian(ModelGuard):
    """Unsafe iff the probability of yes reaches the threshold.

    Raises:
        InputError: the model or the policy cannot be found, or the tokenizer is not one of Granite Guardian.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self.name = settings.kind
        super().__init__(settings, 1)
        # the publisher's own evaluation adds up the spellings
        words = {word: (f" {word}", word, f" {word.title()}", word.title()) for word in ("no", "yes")}
        self._labels = Labels(self.format, self.encoder, words)

    def make_format(self) -> Format:
        return own_format(self.name, self.model.tokenizer, read_policy(self.settings.policy))

    def ask(self, backend: Backend, prompts: list[Ids], texts: list[str]) -> list[Opinion]:
        found = [self._labels.shares(logprobs) for logprobs in backend.next_token_logprobs(prompts, TOP)]
        opinions = [
            self.verdict(shares["yes"]) if shares else Opinion("unknown", reason=reason) for shares, reason in found
        ]
        return self.with_refusals(opinions, texts)
