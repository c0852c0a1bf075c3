"""Which methods follow from which numbers."""

from __future__ import annotations

from typing import Any

import pytest

from thinksafe.deciding.recommendation import FOREIGN, METHODS, SENTENCES, in_words, recommend
from thinksafe.measuring.pilot import odds_ratio, predictions
from thinksafe.measuring.statistics import proportion_of
from thinksafe.records import Check, Decision
from thinksafe.run.details import ContextRates, DiagnoseDetails, Finding, Quantity, Rate


def rate(accepted: int, n: int = 64) -> Rate:
    estimate = proportion_of(accepted, n, 0.9)
    return Rate(value=estimate.value, n=n, interval=estimate.interval)


def details(steered: int, *, passed: bool, excess: tuple[float, float] | None = None) -> DiagnoseDetails:
    check = Check(name="c", passed=passed, value=0.5, n=64, reason="r")
    after = [1.0] * steered + [0.0] * (64 - steered)
    return DiagnoseDetails(
        decision=Decision(passed=passed, stopped_by=None if passed else "diagnose", checks=(check,), summary="s"),
        acceptance_steered=rate(steered), acceptance_plain=rate(0), flip_rate=rate(steered),
        odds_ratio=odds_ratio([0.0] * 64, after, 0.9), predictions=predictions([0.0] * 64, [0.0] * 64, after),
        excess=Quantity(value=sum(excess) / 2, low=excess[0], high=excess[1], n=20, method="m") if excess else None,
    )


@pytest.mark.parametrize(
    ("found", "finding", "words"),
    [
        (details(60, passed=True, excess=(0.0, FOREIGN / 2)), "steerable", "pulls it little"),
        (details(60, passed=True, excess=(0.0, 2 * FOREIGN)), "steerable", "is not decided"),
        (details(60, passed=True), "steerable", "is not known"),
        (details(60, passed=True, excess=(2 * FOREIGN, 3 * FOREIGN)), "foreign", "benign_loss: kl"),
        (details(12, passed=False), "hardly", "sampling.retries"),
        (details(0, passed=False), "not at all", "teacher"),
    ],
)
def test_the_numbers_decide(found: DiagnoseDetails, finding: Finding, words: str) -> None:
    assert found.decision is not None
    given = recommend(found, "steerable" if found.decision.passed else None)
    assert (given.finding, given.methods) == (finding, METHODS[finding])
    assert words in " ".join(sentence.text for sentence in given.sentences)
    for sentence in given.sentences:
        assert any(sign.isdigit() for sign in sentence.evidence) or "no excess" in sentence.evidence


def searched(found: DiagnoseDetails, flips: int, *, excluded: str = "") -> DiagnoseDetails:
    """Return the details of a pilot that was sampled in a context, too."""
    context = ContextRates(name="calm", flip_rate=rate(flips), refused=rate(1), excluded=excluded)
    return found.model_copy(update={"contexts": (context,)})


@pytest.mark.parametrize(
    ("found", "given", "finding", "first"),
    [
        (details(60, passed=True), "steerable", "steerable", "thinksafe"),
        (details(0, passed=True), None, "hardly", "self-distillation"),
        (details(12, passed=True), None, "hardly", "self-distillation"),
        (details(12, passed=False), None, "hardly", "thinksafe with sampling.retries"),
    ],
)
def test_the_best_context_that_was_searched_counts(
    found: DiagnoseDetails, given: Finding | None, finding: Finding, first: str
) -> None:
    advice = recommend(searched(found, 50), given)
    assert (advice.finding, advice.methods[0]) == (finding, first)
    assert "in the context calm" in advice.sentences[-1].text
    assert advice.sentences[-1].evidence.startswith("teacher flip rate 78.1")


def test_an_excluded_context_counts_for_nothing() -> None:
    found = details(0, passed=False)
    assert recommend(searched(found, 60, excluded="it refuses"), None) == recommend(found, None)
    assert recommend(searched(found, 0), None).finding == "not at all"


@pytest.mark.parametrize("finding", ["safe already", "undecided", "unjudged"])
def test_causes_that_are_not_the_student_recommend_no_method(finding: Finding) -> None:
    given = recommend(details(60, passed=False), finding)
    assert (given.finding, given.methods, len(given.sentences)) == (finding, (), 1)


def test_every_finding_has_words_even_without_numbers() -> None:
    for finding, sentences in SENTENCES.items():
        assert sentences(DiagnoseDetails()), finding
    assert set(METHODS) == set(SENTENCES)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"value": 41.234, "low": 12.0, "high": None}, "41.2 [12, ?]"),
        ({"low": 9.0, "reason": "no upper limit"}, "above 9 (no upper limit)"),
        ({"reason": "nothing was accepted"}, "unknown (nothing was accepted)"),
        ({"value": 0.5}, "0.5"),
    ],
)
def test_numbers_in_words(found: dict[str, Any], words: str) -> None:
    assert in_words(Quantity(**found)) == words
