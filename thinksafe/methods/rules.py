"""Rules of curation: what a judged response must satisfy to become an example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from thinksafe.records import Sample, Verdict
from thinksafe.traces import split

Rule = Literal["complete", "safe", "refusal", "compliance"]
Reasoning = Literal["think", "none"]
Reason = Literal["accepted", "incomplete", "unknown", "unsafe", "not_a_refusal", "refusal"]


def _complete(sample: Sample, _: Verdict, reasoning: Reasoning) -> Reason:
    whole = sample.finish != "length" and split(sample.response, reasoning).complete
    return "accepted" if whole else "incomplete"


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
