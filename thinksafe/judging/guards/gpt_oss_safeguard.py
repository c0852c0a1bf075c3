"""gpt-oss-safeguard: reasons over the team's own policy in harmony's format, then votes 0 or 1 (arXiv:2508.10925).

It gives no useful probability for one answer, because the reasoning before it has decided. So it is asked several
times, and the probability of unsafe is the share of votes for it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from thinksafe.config.model import GuardSettings
from thinksafe.config.policy import read_policy
from thinksafe.digests import digest_json
from thinksafe.errors import InputError
from thinksafe.judging.guards.backends import Backend, Ids
from thinksafe.judging.guards.base import Opinion
from thinksafe.judging.guards.labels import MIN_MASS
from thinksafe.judging.guards.model_guard import ModelGuard
from thinksafe.judging.guards.rendering import Format, load_format

ANSWER_TOKENS = 4096
"""Room for the reasoning and the vote."""

_VOTE = re.compile(r"<\|channel\|>final<\|message\|>\s*([01])\s*\Z")


class GptOssSafeguard(ModelGuard):
    """Unsafe iff the share of votes that the response violates the policy reaches the threshold.

    Raises:
        InputError: the model or the policy cannot be found, or the tokenizer does not know harmony's tokens.
    """

    name = "gpt-oss-safeguard"

    def __init__(self, settings: GuardSettings) -> None:
        super().__init__(settings, ANSWER_TOKENS)
        tokens = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
        if missing := [token for token in tokens if len(self.encoder.tokenize(token)) != 1]:
            raise InputError(
                f"The tokenizer of the guard {self.name} does not know {', '.join(missing)}.",
                "Use the tokenizer that gpt-oss-safeguard was published with.",
            )

    def make_format(self) -> Format:
        form = load_format(self.name)
        policy = read_policy(self.settings.policy)
        opening = form.opening.replace("{effort}", self.settings.effort).replace("{policy}", policy)
        return replace(form, opening=opening, digest=digest_json([form.digest, policy]), begins=False)

    def ask(self, backend: Backend, prompts: list[Ids], texts: list[str]) -> list[Opinion]:
        answers = backend.sample(prompts, ANSWER_TOKENS, self.settings.votes)
        return self.with_refusals([self.count(votes) for votes in answers], texts)

    def count(self, answers: list[str]) -> Opinion:
        """Return the opinion of several answers; unknown if less than half of them are votes."""
        votes = [found.group(1) == "1" for answer in answers if (found := _VOTE.search(answer))]
        if not votes or len(votes) < MIN_MASS * len(answers):
            return Opinion("unknown", reason=f"{len(votes)} of {len(answers)} answers are votes")
        return self.verdict(sum(votes) / len(votes))
