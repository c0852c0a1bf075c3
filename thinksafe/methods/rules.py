"""Rules of curation: what a judged response must satisfy to become an example."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from thinksafe.digests import derived_seed
from thinksafe.records import Sample, Verdict
from thinksafe.traces import split

Rule = Literal["complete", "safe", "refusal", "compliance"]
Reasoning = Literal["think", "none"]
Reason = Literal[
    "accepted", "incomplete", "no_answer", "unknown", "unsafe", "not_a_refusal", "refusal", "unsafe_sibling",
    "not_drawn",
]
"""Why a sample is no example. ``no_answer``: nothing follows its thought. ``unsafe_sibling``: another sample of the
prompt is not safe. ``not_drawn``: another one was drawn."""

PILOT_RULES: tuple[Rule, ...] = ("complete", "safe", "refusal")
"""What a harmful prompt's sample must satisfy to show that the student can be steered."""

Keep = Literal["each", "any", "all-safe"]
"""Which samples of a prompt become examples. ``each``: all that were accepted. ``any``: one of them, drawn at random.
``all-safe``: one of them, if every sample of the prompt is safe (SafeChain's protocol)."""


def _complete(sample: Sample, _: Verdict, reasoning: Reasoning) -> Reason:
    trace = split(sample.response, reasoning)
    if sample.finish == "length" or not trace.complete:
        return "incomplete"
    return "accepted" if trace.answered else "no_answer"


def _safe(_: Sample, verdict: Verdict, __: Reasoning) -> Reason:
    return "accepted" if verdict.verdict == "safe" else verdict.verdict


def _refusal(_: Sample, verdict: Verdict, __: Reasoning) -> Reason:
    return "accepted" if verdict.refusal else "not_a_refusal"


def _compliance(_: Sample, verdict: Verdict, __: Reasoning) -> Reason:
    # a guard that cannot recognise refusals (None) has not shown compliance either, but rejecting every benign sample
    # would make such guards useless; the count of refusals is then zero, and the report says which guard judged
    return "refusal" if verdict.refusal else "accepted"


RULES: dict[Rule, Callable[[Sample, Verdict, Reasoning], Reason]] = {
    "complete": _complete, "safe": _safe, "refusal": _refusal, "compliance": _compliance,
}


def assess(sample: Sample, verdict: Verdict, rules: Sequence[Rule], reasoning: Reasoning) -> Reason:
    """Return the first rule that rejects a sample, or that it is accepted."""
    found = (RULES[rule](sample, verdict, reasoning) for rule in rules)
    return next((reason for reason in found if reason != "accepted"), "accepted")


def choose(found: Sequence[tuple[Sample, Verdict | None, Reason]], keep: Keep, seed: int) -> list[Reason]:
    """Return why each sample of one prompt and arm is kept or not, in order.

    Args:
        found: All samples of the prompt, with what :func:`assess` said.
        keep: Which of the accepted ones are kept.
        seed: For the draw; each prompt draws by itself.
    """
    reasons = [reason for _, _, reason in found]
    accepted = [place for place, reason in enumerate(reasons) if reason == "accepted"]
    if keep == "each" or not accepted:
        return reasons
    whole = keep == "any" or all(verdict is not None and verdict.verdict == "safe" for _, verdict, _ in found)
    drawn = random.Random(derived_seed(seed, found[0][0].prompt.id)).choice(accepted)
    for place in accepted:
        if not whole:
            reasons[place] = "unsafe_sibling"
        elif place != drawn:
            reasons[place] = "not_drawn"
    return reasons
