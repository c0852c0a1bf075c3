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
        ("The answer is (B) because (A) is too small.", "B"),
        ("The answer is B, not C.", "B"),
        ("The correct answer is option (D): 5 m/s", "D"),
        ("Answer: D. 5 m/s", "D"),
        ("(D) 5 m/s", "D"),
        ("D. 5 m/s", "D"),
        ("D: 5 m/s", "D"),
        ("**D. 5 m/s**", "D"),
        ("\\boxed{D. 5}", "D"),
        ("\\boxed{\\text{D}}", "D"),
        ("\\boxed{\\textbf{D}}", "D"),
        ("$\\text{(D)}$", "D"),
        ("$D$", "D"),
        ("\\(D\\)", "D"),
        ("\\[D\\]", "D"),
        ("Answer\uff1a(D)", "D"),
        ("I think it's D.", "D"),
        ("It's D", "D"),
        ("That would be D.", "D"),
        ("My choice is D.", "D"),
        ("My final choice: D", "D"),
        ("I would say D.", "D"),
        ("I'd pick D.", "D"),
        ("I'd choose D", "D"),
        ("I'll go with D.", "D"),
        ("Let's go with D.", "D"),
        ("So D it is.", "D"),
        ("D it is.", "D"),
        ("Thus D is correct.", "D"),
        ("Therefore D is the correct answer.", "D"),
        ("Option D is the best answer.", "D"),
        ("The best answer is thus D.", "D"),
        ("Only D works.", "D"),
        ("Only (D) satisfies the condition.", "D"),
        ("D must be correct.", "D"),
        ("Hence, the correct choice is D.", "D"),
        ("Final Answer: D", "D"),
        ("**Final Answer**: **D**", "D"),
        ("### Answer: D", "D"),
        ("## Final Answer\n\n**D**", "D"),
        ("The answer is:\n\nD", "D"),
        ("The answer is:\n\n(D) 5 m/s", "D"),
        ("Answer\nD", "D"),
        ("answer: d", "D"),
        ("The answer is d.", "D"),
        ("(d)", "D"),
        ("d)", "D"),
        ("A is incorrect. B is incorrect. C is incorrect. D is correct.", "D"),
        ("A: wrong\nB: wrong\nC: wrong\nD: right", "D"),
        ("A) No. B) No. C) Yes. D) No.", None),
        ("Eliminating A, B and C, we are left with D.", "D"),
        ("A, B, and C can be ruled out, so D.", "D"),
        ("It is not A, B or C, so it must be D.", "D"),
        ("It can't be A. It can't be B. So C.", "C"),
        ("The answer is not A. It is C.", "C"),
        ("Neither A nor B; C is right.", "C"),
        ("B seems tempting, but C is correct.", "C"),
        ("Although B looks right, the answer is C.", "C"),
        ("At first I thought B, but it is C.", "C"),
        ("The answer is B. Wait, no, C.", "C"),
        ("The answer is B. Actually, the answer is C.", "C"),
        ("Some would say B. The answer is C.", "C"),
        ("If the answer were B, then x. The answer is C.", "C"),
        ("A common mistake is to choose B. The answer is C.", "C"),
        ("A or B", None),
        ("Either A or B.", None),
        ("Both A and C", None),
        ("A and C are correct.", None),
        ("None of the above", None),
        ("All of them", None),
        ("I cannot decide between A and B.", None),
        ("The answer is not B.", None),
        ("It isn't B.", None),
        ("B is wrong.", None),
        ("B is not correct.", None),
        ("Option B is incorrect.", None),
        ("Not B.", None),
        ("The answer cannot be B.", None),
        ("A good question.", None),
        ("A train travels 5 miles.", None),
        ("I am not sure.", None),
        ("I think so.", None),
        ("Vitamin B is important.", None),
        ("Plan B failed.", None),
        ("Let A be a set.", None),
        ("Point A lies on the line.", None),
        ("Answer: A or B", None),
        ("The answer is A/B", None),
        ("The answer is A, B", None),
        ("\\boxed{A, B}", None),
        ("<answer>A or B</answer>", None),
        ("<answer>B</answer>", "B"),
        ("<answer>(B) 5 m</answer>", "B"),
        ("<answer>\n\\boxed{B}\n</answer>", "B"),
        ("<answer>The answer is B</answer>", "B"),
        ("Choice: B", "B"),
        ("Selected: B", "B"),
        ("B, since it is larger", "B"),
        ("B - because", "B"),
        ("B (5 m/s)", "B"),
        ("B!", "B"),
        ("\"B\"", "B"),
        ("'B'", "B"),
        ("`B`", "B"),
        ("```\nB\n```", "B"),
        ("[[B]]", "B"),
        ("{B}", "B"),
        ("*B*", "B"),
        ("_B_", "B"),
        ("Therefore the answer is $\\boxed{\\mathbf{B}}$", "B"),
        ("so the answer is $\\mathrm{(B)}$", "B"),
        ("The answer is \\textbf{(B)}", "B"),
        ("option b is right", "B"),
        ("The correct letter is B", "B"),
        ("Correct: B", "B"),
        ("Correct answer - B", "B"),
        ("#### (B)", "B"),
        ("####B", "B"),
        ("- **B**", "B"),
        ("* B", "B"),
        ("> B", "B"),
        ("1. B", "B"),
        ("Answer = B", "B"),
        ("Answer \u2192 B", "B"),
        ("The answer is A.", "A"),
        ("A", "A"),
        ("A.", "A"),
        ("(A)", "A"),
        ("\\boxed{A}", "A"),
        ("So A.", "A"),
        ("It is A.", "A"),
        ("Answer: A", "A"),
        ("Answer: a", "A"),
        ("I choose A", "A"),
        ("I'd go with A.", "A"),
        ("A is wrong, so B.", "B"),
        ("B is right, because A is wrong.", "B"),
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
