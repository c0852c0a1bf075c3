"""Letters of options in all their forms, and the word "a" in none of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import InputError
from thinksafe.judging.answers.letters import extract_letter

FORMS = [
    "({0})", "{0}", "{0}.", "{0})", "**{0}**", "**({0})**", "**{0}.**", "`{0}`", "[{0}]", "{0}) the second one",
    "{0}. the second one", "{0}: the second one", "({0}) the second one", "**{0}) the second one**",
    "The answer is {0}", "The answer is {0}.", "The answer is ({0}).", "The answer is **{0}**.", "the answer is: {0}",
    "The correct answer is {0}, because nothing else fits.", "The answer is {0} because nothing else fits.",
    "Answer: {0}", "**Answer:** {0}", "**Answer: {0}**", "Final answer: ({0})", "ANSWER: {0}", "Answer = {0}",
    "The final answer is $\\boxed{{{0}}}$.", "\\boxed{{{0}}}", "\\boxed{{({0})}}", "\\boxed{{\\text{{{0}}}}}",
    "\\boxed{{\\textbf{{({0})}}}}", "\\boxed{{\\mathrm{{{0}}}}}", "\\boxed{{\\mathbf{{{0}}}}}", "\\fbox{{{0}}}",
    "\\boxed{{\\text{{Option {0}}}}}", "\\boxed{{{0}.\\ 5}}", "\\boxed{{\\text{{({0}) }} 5 \\text{{ m}}}}",
    "\\[\\boxed{{{0}}}\\]", "$\\boxed{{{0}}}$", "The correct option is {0}.", "The correct choice is ({0}).",
    "Option {0}", "option {0}.", "Option ({0})", "I choose {0}.", "I pick option {0}", "So the answer is option {0}.",
    "Therefore, the answer is ({0}) 5 m/s.", "Hence {0}.", "So it is ({0}).", "The answer should be {0}.",
    "The answer to the question is {0}.", "The answer is:\n\n{0}", "**Final Answer**\n\n{0}", "Answer:\n({0})",
    "It cannot be (D).\n\n{0}", "Some reasoning first.\nAnd more of it.\n\n**{0}**", "The best answer is \"{0}\".",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("letter", ["A", "B", "C"])
def test_a_letter_in_all_its_forms(form: str, letter: str) -> None:
    assert extract_letter(form.format(letter), 4) == letter
    assert extract_letter(form.format(letter.lower()), 4) == letter, "lower case"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "I do not know.", "The answer is a matter of taste.", "the answer is a good one",
        "A good answer is hard.",
        "Answer: a lot of them", "The answer is A lot.", "This is a hard one", "The answer is E.", "(E)", "E",
        "\\boxed{E}", "\\boxed{5}", "The answer is about 5.", "The answer is 5 m/s.", "Be careful", "Because of that",
        "The answer is B or C.", "(B) or (C)", "\\boxed{B, C}", "\\boxed{A and B}", "The answer is (A) and (B)",
        "The answer is not (B)", "An option a person has is none.", "I choose a path.", "Answer: B/C", "b c d",
        "The answer is don't care", "D'accord", "The answer is B's",
    ],
)
def test_no_letter(text: str) -> None:
    assert extract_letter(text, 4) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is B. Wait, the answer is C.", "C"),
        ("\\boxed{A} no, \\boxed{B}", "B"),
        ("\\boxed{B}. The answer is C.", "B"),
        ("The answer is B.\nOption A is wrong.", "B"),
        ("\\boxed{5}\nThe answer is (D).", "D"),
        ("(A) is too small and (C) too large, which leaves (B)", "B"),
        ("The answer is (B), as (C) is wrong.", "B"),
        ("A: wrong.\nB: right.\nThe answer is B.", "B"),
        ("The answer is a matter of (C).", "C"),
        ("B is correct.", "B"),
        ("A is correct.", "A"),
    ],
)
def test_which_letter_counts(text: str, letter: str) -> None:
    assert extract_letter(text, 4) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("<answer>C</answer>", "C"),
        ("#### B", "B"),
        ("- C", "C"),
        ("\\boxed C", "C"),
        ("Final answer - B", "B"),
        ("I'd go with C", "C"),
        ("I'd go with C.", "C"),
        ("It must be B!", "B"),
        ("A is wrong, C is wrong, D is wrong, so B.", "B"),
        ("(B) is right. (A) is wrong.", "B"),
        ("(A) is wrong. (B) is right.", "B"),
        ("Option A is wrong.", None),
        ("Not A but B.", "B"),
        ("The answer is not B, it is C.", "C"),
        ("**C**", "C"),
        ("### Final Answer\n\nB", "B"),
        ("Answer\uff1aB", "B"),
        ("B is right, and A is wrong.", "B"),
        ("Both A and B are right", None),
        ("I rule out A, B and D.", None),
        ("The wrong answer is A.", None),
        ("My answer: C) 5 m/s", "C"),
        ("The answer is (A) not (B)", "A"),
        ("I would choose D", "D"),
        ("Correct choice: D", "D"),
        ("It's B.", "B"),
        ("The correct option is **B) 12**", "B"),
        ("C, because (A) fails", "C"),
        ("A can't be right. Neither can C or D. So it's B.", "B"),
        ("A. Wait, no, B.", "B"),
        ("So, the answer is: \n\n**(C) foo**", "C"),
        ("\\boxed{\\text{(B)}}", "B"),
        ("<answer>(C) 12 apples</answer>", "C"),
        ("We eliminate A, B, and C, leaving D.", "D"),
        ("The answer isn't C", None),
        ("D", "D"),
        ("[C]", "C"),
        ("\\textbf{(C)}", "C"),
        ("Ans: C", "C"),
        ("option: C", "C"),
        ("the correct answer would be C", "C"),
        ("Choice C is correct", "C"),
        ("answer = C", "C"),
        ("C is the answer.", "C"),
        ("C is correct, not B", "C"),
        ("If the answer is B, then no.", None),
        ("Let me choose: B", "B"),
    ],
)
def test_letters_in_sentences(text: str, letter: str | None) -> None:
    assert extract_letter(text, 4) == letter


def test_more_options_than_letters_are_refused() -> None:
    with pytest.raises(InputError, match="27 lettered options"):
        extract_letter("The answer is B.", 27)


def test_letters_beyond_the_options_are_none() -> None:
    assert extract_letter("The answer is J.", 10) == "J"
    assert extract_letter("The answer is J.", 9) is None
    assert extract_letter("The answer is I think so", 10) is None
    assert extract_letter("The answer is (I)", 10) == "I"


@given(st.text(max_size=120))
def test_any_text_can_be_searched(text: str) -> None:
    assert extract_letter(text, 4) in (None, "A", "B", "C", "D")


@pytest.mark.parametrize("piece", ["answer is ", "answer to ", "(A) ", "the ", "\n", " ", "\\text ", "option "])
def test_long_texts_take_no_time(piece: str) -> None:
    before = time.process_time()
    extract_letter(piece * 20_000, 4)
    assert time.process_time() - before < 3
