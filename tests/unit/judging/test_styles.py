"""The aims of grading, by style: 99 of 100 right answers are accepted, and at most 1 of 100 wrong ones."""

from __future__ import annotations

import pytest
from answer_styles import CHOICES, STYLES
from answer_values import EXPRESSIONS, NUMBERS
from grading_measure import Case, Counts, cases, measured

from thinksafe.judging.answers.reading import equal, read

RIGHT, WRONG = 99.0, 1.0


def missed(rows: list[Case]) -> list[str]:
    """Return the styles in which the grader misses the aims."""
    by_style: dict[str, Counts] = {}
    for (_, style), (ours, _) in measured(rows, beside=False).items():
        by_style.setdefault(style, Counts()).include(ours)
    assert set(by_style) == {*STYLES, *CHOICES}
    return [style for style, counts in by_style.items() if not meets(counts)]


def meets(counts: Counts) -> bool:
    """Return whether a style has responses of both kinds and meets the aims."""
    return all(counts.seen.values()) and counts.share(True) >= RIGHT and counts.share(False) <= WRONG


def test_a_sample_of_values_in_every_style() -> None:
    assert not missed(list(cases(every=89)))


@pytest.mark.slow
def test_all_values_in_every_style() -> None:
    assert not missed(list(cases()))


def test_forms_of_values() -> None:
    """Every right form equals its reference, and no near miss does, whatever states them."""
    answers = (*EXPRESSIONS, *NUMBERS)
    assert len(EXPRESSIONS) > 200
    assert not [(a.reference, form) for a in answers for form in a.right if not equal(a.reference, form)]
    assert not [(a.reference, form) for a in answers for form in a.wrong if equal(a.reference, form)]


def test_references_are_read() -> None:
    assert [a.reference for a in (*EXPRESSIONS, *NUMBERS) if read(a.reference) is None] == [r"\text{June 20}"]
