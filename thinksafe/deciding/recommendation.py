"""What follows from a pilot: which methods suit the student, in sentences that each name their numbers."""

from __future__ import annotations

from thinksafe.methods.grpo import ROLLOUTS
from thinksafe.run.details import (
    ContextRates,
    DiagnoseDetails,
    Finding,
    Prediction,
    Quantity,
    Rate,
    Recommendation,
    Sentence,
)
from thinksafe.text import bracket, percent

FOREIGN = 0.2
"""Excess cross-entropy, in nats a token, above which accepted traces count as foreign. A choice of ours: the training
data of ThinkSafe and STAR-1 are 1.6 nats a token apart under Qwen3-1.7B (perplexity 1.55 and 7.35, arXiv:2601.23143).
"""
NEVER = 0.1
"""Share of prompts below which, by its upper bound, steering counts as without effect."""


def recommend(found: DiagnoseDetails, finding: Finding | None) -> Recommendation:
    """Return the recommendation.

    Args:
        found: The numbers of the pilot.
        finding: ``steerable`` if steering passes its limits; where it does not, what that shows, or None if that is the
            student's acceptance.
    """
    if finding == "steerable":
        finding = _of_steerable(found)
    finding = finding or _of_others(found)
    sentences, methods = SENTENCES[finding](found), METHODS[finding]
    if finding in ABOUT_THE_STUDENT and found.teacher is not None:
        sentences.append(_in_context(found.teacher))
        passed = found.decision is not None and found.decision.passed
        if passed and finding in ("hardly", "not at all"):
            methods = ("self-distillation", *methods)
    return Recommendation(finding=finding, methods=methods, sentences=tuple(sentences))


def _of_steerable(found: DiagnoseDetails) -> Finding:
    excess = found.excess
    return "foreign" if excess is not None and excess.low is not None and excess.low > FOREIGN else "steerable"


def _of_others(found: DiagnoseDetails) -> Finding:
    rate = _hardest(found)
    return "not at all" if rate is not None and rate.interval is not None and rate.interval.high < NEVER else "hardly"


def _hardest(found: DiagnoseDetails) -> Rate | None:
    """Return the acceptance of the prompts that need the repair, or of all where none does.

    It is that of steering, or of the best context where contexts were searched and this one does better.
    """
    rates = [found.flip_rate, *([found.teacher.flip_rate] if found.teacher is not None else [])]
    known = [rate for rate in rates if rate is not None and rate.value is not None]
    return max(known, key=lambda rate: rate.value or 0.0, default=found.acceptance_steered)


METHODS: dict[Finding, tuple[str, ...]] = {
    "steerable": ("thinksafe",),
    "foreign": ("thinksafe with benign_loss: kl", "self-distillation"),
    "hardly": ("thinksafe with sampling.retries", "teacher", "grpo"),
    "not at all": ("teacher", "grpo"),
    "safe already": (),
    "undecided": (),
    "unjudged": (),
}
"""Methods of each finding, the best first."""

ABOUT_THE_STUDENT: tuple[Finding, ...] = ("steerable", "foreign", "hardly", "not at all")
"""Findings with which a context that was searched matters."""


def _steerable(found: DiagnoseDetails) -> list[Sentence]:
    return [_cheap(found), _distance(found), _without_steering(found)]


def _foreign(found: DiagnoseDetails) -> list[Sentence]:
    return [
        _cheap(found), _distance(found),
        Sentence(
            text="Hold the student's benign behaviour with benign_loss: kl, or take self-distillation, which trains on "
            "the student's own responses.",
            evidence=f"more than {FOREIGN:g} nats a token of excess count as foreign",
        ),
    ]


def _hardly(found: DiagnoseDetails) -> list[Sentence]:
    retries, rate = _prediction(found, "retries"), _hardest(found)
    return [
        Sentence(
            text="The student can hardly be steered: sample rejected prompts again with stronger steering "
            "(sampling.retries), or take the responses of a teacher, or grpo.",
            evidence=_rates(found),
        ),
        Sentence(
            text="Retries keep the hard prompts that a single sample drops, at the price of more samples.",
            evidence=f"with two retries {_share(retries)} of the prompts kept, {_samples(retries)} a kept example",
        ),
        Sentence(
            text="grpo needs no accepted sample beforehand, but groups in which the responses differ.",
            evidence=f"at most {_groups(rate)} of groups of {ROLLOUTS} would hold an accepted response, if steered",
        ),
    ]


def _not_at_all(found: DiagnoseDetails) -> list[Sentence]:
    return [
        Sentence(
            text="The student cannot be steered: methods that filter its own samples have nothing to keep. Take the "
            "responses of a teacher.",
            evidence=_rates(found),
        ),
        Sentence(
            text="Reinforcement learning (grpo) can bring out what is rare, not what is absent: expect many rollouts "
            "without a signal.",
            evidence=f"at most {_groups(_hardest(found))} of groups of {ROLLOUTS} would hold an accepted response, if "
            "steered",
        ),
    ]


def _safe_already(found: DiagnoseDetails) -> list[Sentence]:
    return [Sentence(text="There is nothing to repair on these prompts.", evidence=_rates(found))]


def _undecided(found: DiagnoseDetails) -> list[Sentence]:
    return [Sentence(text="The pilot is too small to recommend a method: raise diagnose.prompts.",
                     evidence=_rates(found))]


def _unjudged(found: DiagnoseDetails) -> list[Sentence]:
    unknown = sum(of.get("unknown", 0) for of in found.reasons.values())
    return [Sentence(text="The guard cannot judge this student, so no method is recommended: look at guard.filter.",
                     evidence=f"{unknown} unknown verdicts")]


SENTENCES = {
    "steerable": _steerable, "foreign": _foreign, "hardly": _hardly, "not at all": _not_at_all,
    "safe already": _safe_already, "undecided": _undecided, "unjudged": _unjudged,
}


def _cheap(found: DiagnoseDetails) -> Sentence:
    own = _prediction(found, "thinksafe")
    return Sentence(
        text="The student can be steered cheaply: thinksafe gets its examples from the student's own samples.",
        evidence=f"{_rates(found)}; odds ratio {in_words(found.odds_ratio)}; {_samples(own)} a kept example",
    )


def _distance(found: DiagnoseDetails) -> Sentence:
    excess = found.excess or Quantity(reason="it was not measured")
    words = f"excess {in_words(excess)} nats a token ({excess.method}, n {excess.n})" if excess.method else (
        f"no excess: {excess.reason}"
    )
    if excess.value is None:
        text = "How far the accepted steered traces are from what the student says by itself is not known: watch drift."
    elif excess.low is not None and excess.low > FOREIGN:
        text = "The accepted steered traces are foreign to the student: training on them pulls it away from itself."
    elif excess.high is not None and excess.high <= FOREIGN:
        text = "The accepted steered traces are near to what the student says by itself: training pulls it little."
    else:
        text = "Whether the accepted steered traces are foreign to the student is not decided: watch drift."
    return Sentence(text=text, evidence=words)


def _without_steering(found: DiagnoseDetails) -> Sentence:
    strict, lenient = _prediction(found, "rejection, keep: all-safe"), _prediction(found, "rejection, keep: any")
    return Sentence(
        text="Without steering (rejection), fewer prompts would be kept at more samples each.",
        evidence=f"keep: any {_share(lenient)} of the prompts, {_samples(lenient)} a kept example; keep: all-safe "
        f"{_share(strict)}, {_samples(strict)}",
    )


def _in_context(best: ContextRates) -> Sentence:
    return Sentence(
        text=f"Self-distillation would learn from the student in the context {best.name}, the best of those that leave "
        "benign prompts answered; nothing filters what it learns, so harm stays near what that leaves.",
        evidence=f"teacher flip rate {_rate(best.flip_rate)}, benign prompts refused {_rate(best.refused)}",
    )


def _rate(of: Rate) -> str:
    return f"{percent(of.value)} {bracket(of.interval)} of {of.n}"


def _rates(found: DiagnoseDetails) -> str:
    rates = {"accepted steered": found.acceptance_steered, "plain": found.acceptance_plain, "flipped": found.flip_rate}
    return ", ".join(
        f"{name} {_rate(rate)}" for name, rate in rates.items()
        if rate is not None and rate.value is not None
    )


def in_words(found: Quantity | None) -> str:
    """Return a number with its interval, or why there is none."""
    if found is None:
        return "unknown"
    low, high = (("∞" if found.value is None else "?") if limit is None else f"{limit:.3g}"
                 for limit in (found.low, found.high))
    if found.value is None:
        return f"above {low} ({found.reason})" if found.low is not None else f"unknown ({found.reason})"
    return f"{found.value:.3g}" + ("" if found.low is None and found.high is None else f" [{low}, {high}]")


def _prediction(found: DiagnoseDetails, method: str) -> Prediction | None:
    return next((each for each in found.predictions if each.method == method), None)


def _share(of: Prediction | None) -> str:
    if of is None:
        return "an unknown share"
    low, high = percent(of.kept_low, 0), percent(of.kept_high, 0)
    return low if low == high else f"{low} to {high}"


def _samples(of: Prediction | None) -> str:
    if of is None or of.samples_low is None:
        return "no number of samples"
    low, high = ("" if cost is None else f"{cost:,.1f}" if cost < 100 else f"{cost:,.0f}"
                 for cost in (of.samples_low, of.samples_high))
    return f"{low} samples" if low == high else f"{low} to {high} samples" if high else f"{low} samples or more"


def _groups(rate: Rate | None) -> str:
    """Return the largest share of groups with an accepted response, by the upper bound of a rate."""
    high = rate.interval.high if rate is not None and rate.interval is not None else 1.0
    return percent(1 - (1 - high) ** ROLLOUTS, 0)
