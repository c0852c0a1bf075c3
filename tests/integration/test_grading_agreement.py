"""The project's grading against math-verify and lm-eval, on 500 generated responses."""

from __future__ import annotations

import pytest
from graded_responses import COUNT, responses
from grading_agreement import PAGE, Compared, compare, section


@pytest.fixture(scope="module")
def compared() -> list[Compared]:
    try:
        return compare(responses())
    except RuntimeError as error:
        pytest.skip(str(error))


def test_responses_are_varied() -> None:
    found = responses()
    assert len(found) == len({row.id for row in found}) == COUNT
    assert found == responses()
    assert len({row.response for row in found}) == COUNT
    answers = [row.response.rpartition("</think>")[2] for row in found if "</think>" in row.response]
    assert len(answers) > 0.9 * COUNT
    assert sum(row.response.startswith("<think>") for row in found) not in (0, COUNT), "with and without"
    assert len({row.reference for row in found}) > 150


@pytest.mark.slow
def test_agreement_with_lm_eval_and_math_verify(compared: list[Compared]) -> None:
    assert len(compared) == COUNT
    any_of_lm_eval = [item.ours.correct == any(item.lm_eval.values()) for item in compared]
    assert sum(any_of_lm_eval) >= 0.995 * COUNT
    read = [item.math_verify == item.ours.correct for item in compared if item.math_verify is not None]
    assert sum(read) >= 0.995 * len(read)
    assert [item.row.id for item in compared if item.disagrees and not item.why] == [], "each is explained"
    assert 0.4 < sum(item.ours.correct for item in compared) / COUNT < 0.7
    assert sum(item.ours.truncated for item in compared) > 10


@pytest.mark.slow
def test_the_page_says_what_was_found(compared: list[Compared]) -> None:
    assert section(compared) in PAGE.read_text("utf-8"), "run tests/support/grading_agreement.py"
