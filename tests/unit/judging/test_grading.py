"""Grading: the stated answer after the thought, compared with the reference."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.judging.answers.reading import equal
from thinksafe.judging.answers.statements import stated_answer
from thinksafe.judging.grading import grade
from thinksafe.records import Grade, Prompt, Sample


def stated(text: str) -> str | None:
    found = stated_answer(text)
    return found.text if found else None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So it is \boxed{72}.", "72"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\sqrt{\frac{a}{b}}} and nothing else 5", r"\sqrt{\frac{a}{b}}"),
        (r"First \boxed{1}, then \boxed{2}.", "2"),
        (r"\boxed{unclosed 5", "5"),
        (r"\boxed{} then 5", "5"),
        (r"\boxed{ 7 }", "7"),
        ("The answer is 72.", "72"),
        ("the answer is 72", "72"),
        ("The final answer is: 72", "72"),
        ("Answer: **72**", "72"),
        ("answer = 3.5", "3.5"),
        ("The answer is 3.5. It follows from 9.", "3.5"),
        ("The answer is $72$.", "72"),
        ("The answer is 72 apples.", "72 apples"),
        ("The answer is 1,000", "1,000"),
        ("The answer is (B).", "(B)"),
        ("The answer is 5.\nNo, the answer is 6.", "6"),
        ("So we add 2 and 3.\n#### 5", "5"),
        ("#### 1,234\n", "1,234"),
        ("She has 12 left of 20, so 8 were sold.", "8"),
        ("It costs $1,250.50 in all", "$1,250.50"),
        ("that leaves -3", "-3"),
        (r"\boxed{open \boxed{5}", "5"),
        ("It is \\(72\\). The answer is \\(72\\).", "72"),
        ("**Final Answer:** $72$", "72"),
        ("The answer should be 72.", "72"),
        ("nothing to say", None),
        ("", None),
    ],
)
def test_stated_answer(text: str, answer: str | None) -> None:
    assert stated(text) == answer


@pytest.mark.parametrize(
    ("reference", "extracted"),
    [
        ("72", "72"), ("72", "72.00"), ("72", "72."), ("72", "$72"), ("72", "\\$72"), ("72", "$72$"), ("72", " 72 "),
        ("72", "+72"), ("72.00", "72"), ("0.5", ".5"), ("1000", "1,000"), ("1,000", "1000"), ("1234567", "1,234,567"),
        ("-5", "-5"), ("-5", "\N{MINUS SIGN}5"), ("18", "18 dollars"), ("72", "72 apples"),
        ("\\frac{1}{2}", "0.5"), ("0.5", "\\frac{1}{2}"), ("\\frac{1}{2}", "\\dfrac{1}{2}"), ("3/4", "0.75"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)"), ("p - q", "-q + p"), ("2\\sqrt{2}", "\\sqrt{8}"),
        ("1000", "1{,}000"), ("1000", "1\\,000"), ("1000", "1 000"), ("72", "72%"), ("72", "72\\%"), ("0.72", "72%"),
        ("90", "90^\\circ"), ("90", "90\u00b0"), ("72", "\u20ac72"),
        ("18", "\\text{18 dollars}"), ("18", "18\\text{ dollars}"),
        ("72", "72, because he sold all"), ("72", "exactly 72 in total"), ("72", "72 (a lot)"),
        ("72", "72 km/h"), ("72", "72 m/s."), ("72", "$72/week"), ("72", "72, as 8 times 9 is 72"),
        ("72", "72 apples (8 times 9)"), ("72", "\u2248 72"), ("25", "025"), ("540", "540 cents ($5.40)"),
        ("5", "x=5"), ("A", "A"), ("A", "(A)"), ("B", "\\text{B}"), ("\\text{Evelyn}", "Evelyn"),
    ],
)
def test_equal(reference: str, extracted: str) -> None:
    assert equal(reference, extracted)


@pytest.mark.parametrize(
    ("reference", "extracted"),
    [
        ("72", "73"), ("72", "72.01"), ("72", "7.2"), ("72", "-72"), ("12", "1,2"), ("1,2", "12"), ("123", "1,2,3"),
        ("1000", "1,00"), ("72", ""), ("", "72"), ("72", "seventy"), ("0.5", "\\frac{1}{3}"), ("B", "A"), ("A", "(B)"),
        ("72", "not 72"), ("72", "72 and 73"), ("72", "7 2"), ("72", "72x"), ("72", "x72"), ("72", "72 + 1"),
        ("72", "72, 73"), ("72", "72 or 73"), ("72", "72 x/y"), ("72", "72/3"), ("2", "2 \\text{ or } 3"),
        ("5", "1, as 5 is"), ("2", "2(3)"),
        ("3", "3 x"), ("2", "II"), ("5", "NaN"), ("5", "Infinity"), ("5", "\\frac{"), ("5", "\\begin{matrix}"),
    ],
)
def test_not_equal(reference: str, extracted: str) -> None:
    assert not equal(reference, extracted)


@given(number=st.integers(-(10**9), 10**9))
def test_a_number_equals_itself_however_it_is_written(number: int) -> None:
    for text in (str(number), f"{number:,}", f"{number}.0", f"${number}", f"{number}.", f"{number} units"):
        assert equal(str(number), text)
    assert not equal(str(number), str(number + 1))


@given(st.text(max_size=80))
def test_any_text_can_be_searched(text: str) -> None:
    found = stated(text)
    assert found is None or found


@pytest.mark.parametrize(
    "piece", ["\n", " ", "1,", "\\boxed{", "answer is ", "{", "9", "word ", "aa", "\\text{a}", "1 000 "]
)
def test_long_answers_are_searched_in_no_time(piece: str) -> None:
    before = time.process_time()
    stated(f"the answer is{piece * 50_000}")
    equal("72", piece * 50_000)
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    "bomb",
    [
        "9^{9^{9^{9}}}", "\\sum_{i=1}^{10^9} \\frac{1}{i}", "(10^9)!", "((9!)!)!", "1e999999999", "\\sin(10^{10^{10}})",
        "\\binom{10^{9}}{10^{8}}", "e^{e^{e^{e^{9}}}}", "(" * 400 + "1" + ")" * 400, "\\sqrt{" * 200 + "2" + "}" * 200,
        "2^{3000000}", "x^{x^{x^{x^{9}}}}", "9" * 900 + "^{" + "9" * 50 + "}", "(1+" * 300 + "1" + ")" * 300,
        "\\frac{1}{" * 150 + "2" + "}" * 150, "|" * 900, "{" * 999, "1," * 490,
    ],
)
def test_an_answer_that_would_keep_arithmetic_busy_is_wrong_and_takes_no_time(bomb: str) -> None:
    before = time.process_time()
    for reference in ("5", "\\sqrt{2}", "x+1", "1,2", "(0,1)"):
        assert not equal(reference, bomb)
        equal(bomb, reference)
    assert time.process_time() - before < 2


def test_very_long_answers_are_not_read() -> None:
    assert not equal("1+" * 600 + "1", "601")
    assert not equal("72%", "7" * 1_000_000 + "%")


@pytest.fixture
def graded(make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample]) -> Callable[..., Grade]:
    def run(
        response: str, reasoning: str = "think", answer: str = "72", options: int = 0, **changes: object
    ) -> Grade:
        return grade(make_sample(make_prompt(answer=answer, options=options), response, **changes), reasoning)

    return run


@pytest.mark.parametrize(
    ("response", "correct", "extracted", "truncated"),
    [
        ("<think>8 times 9</think>The answer is 72.", True, "72", False),
        ("8 times 9</think>\n\nThe answer is 72.", True, "72", False),  # R1-Distill
        ("<think>8 times 9</think>It is \\boxed{72.00}", True, "72.00", False),
        ("<think>8 times 9</think>The answer is 71.", False, "71", False),
        ("<think>the answer is 72</think>I do not know.", False, None, False),  # stated in the thought only
        ("<think>the answer is 72</think>", False, None, False),
        ("<think>the answer is 72", False, None, True),
        ("The answer is 72.", False, None, True),  # no thought where there has to be one
        ("<think>a</think>72</think>The answer is 71.", False, "71", False),
    ],
)
def test_grade(
    graded: Callable[..., Grade], response: str, correct: bool, extracted: str | None, truncated: bool
) -> None:
    found = graded(response)
    assert (found.correct, found.extracted, found.truncated) == (correct, extracted, truncated)


@pytest.mark.parametrize(
    ("response", "correct", "extracted", "truncated"),
    [
        ("<think>(A)?</think>The answer is (B).", True, "B", False),
        ("(A)?</think>\\boxed{\\text{b}}", True, "B", False),
        ("<think>(A)?</think>(A)", False, "A", False),
        ("<think>(B)</think>I do not know.", False, None, False),
        ("<think>(B)", False, None, True),
        ("<think>(A)?</think>The answer is a matter of taste.", False, None, False),
        ("<think>E</think>E", False, None, False),
    ],
)
def test_grade_of_a_problem_with_options(
    graded: Callable[..., Grade], response: str, correct: bool, extracted: str | None, truncated: bool
) -> None:
    found = graded(response, answer="B", options=4)
    assert (found.correct, found.extracted, found.truncated) == (correct, extracted, truncated)


def test_a_response_cut_by_the_limit_is_never_correct(graded: Callable[..., Grade]) -> None:
    found = graded("<think>8 times 9</think>The answer is 72.", finish="length")
    assert (found.correct, found.truncated) == (False, True)


def test_a_model_without_thoughts_is_graded_on_all_it_says(graded: Callable[..., Grade]) -> None:
    assert graded("The answer is 72.", reasoning="none").correct
    assert not graded("The answer is 72.", reasoning="none", finish="length").correct


def test_grade_belongs_to_its_sample(graded: Callable[..., Grade]) -> None:
    assert graded("<think>a</think>72").sample_id == "p-1/plain/0"


def test_options_as_given(graded: Callable[..., Grade]) -> None:
    assert graded("<think>a</think>The answer is (B).", answer="B").correct
    assert not graded("<think>a</think>The answer is (C).", answer="B").correct


def test_problems_of_the_micro_world() -> None:
    from thinksafe.micro.responses import derivation
    from thinksafe.micro.world import problems, prompts

    texts = {problem.text: problem for problem in list(problems("test")[:3])}
    assert all(prompt.answer for prompt in prompts("test", "reasoning", 3, 0))
    for problem in texts.values():
        assert stated(derivation(problem).partition("</think>")[2]) == str(problem.answer)
