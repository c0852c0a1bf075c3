"""Statements: the answer that a text states, in many forms, and texts that state nothing."""

from __future__ import annotations

import pytest

from thinksafe.judging.answers.reading import equal
from thinksafe.judging.answers.statements import stated_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("**Final Answer:**\n\n42", "42"),
        ("**Answer:** 12", "12"),
        ("__Answer__: 12", "12"),
        ("*Answer:*\n42", "42"),
        ("### Answer\n12", "12"),
        ("#### Final Answer\n42", "42"),
        ("Answer - 12", "12"),
        ("the answer to the problem is 12", "12"),
        ("The final answer is 12", "12"),
        ("The answer is:\n\n$$\n12\n$$", "12"),
        ("\\[ 12 \\]", "12"),
        ("```\n12\n```", "12"),
        ("The answer is:\n```\n12\n```", "12"),
        ("<answer>\\frac{3}{4}</answer>", "3/4"),
        ("Answer\uff1a12", "12"),
        ("#### Step 1: Count 3 apples\nThe answer is 42.", "42"),
        ("The answer is 42.\n\n#### Conclusion", "42"),
        ("#### Conclusion\nThe total is 42.", "42"),
        ("The answer is 7. I am sure the answer is right.", "7"),
        ("Thus, the final result is $p - q$.", "p-q"),
        ("So it is \\boxed{72}.", "72"),
        ("First \\boxed{1}, then \\boxed{2}.", "2"),
        ("\\boxed{unclosed 5", "5"),
        ("\\boxed{} then 5", "5"),
        ("The answer is 3.5. It follows from 9.", "3.5"),
        ("The answer is 72 apples.", "72"),
        ("The answer is 5.\nNo, the answer is 6.", "6"),
        ("So we add 2 and 3.\n#### 5", "5"),
        ("She has 12 left of 20, so 8 were sold.", "8"),
        ("It costs $1,250.50 in all", "1250.5"),
        ("that leaves -3", "-3"),
        ("It is \\(72\\). The answer is \\(72\\).", "72"),
        ("**Final Answer:** $72$", "72"),
        ("The answer should be 72.", "72"),
        ("First I wrote 3 and then 4, but the sum is 8.", "8"),
        ("She has 8 of them in the end.", "8"),
        ("After 2 days and 5 nights the answer is 8.", "8"),
        ("Answer: 8 euros in all", "8"),
        ("So we find $x = 3$ first, and then $\\boxed{4}$.", "4"),
        ("Final Answer: The final answer is $\\sqrt{13}$. I hope it is correct.", "\\sqrt{13}"),
        ("The answer is 5. Wait, I made a mistake: the answer is actually 6.", "6"),
        ("The answer is 5. Wait, no, it should be 6.", "6"),
        ("12 is the answer.", "12"),
        ("Therefore, 12 is the final answer.", "12"),
        ("The answer is $x=5$", "5"),
        ("The answer is: **\\frac{3}{4}**", "3/4"),
        ("the result is\n\n$$\\begin{pmatrix}\n1\\\\\n2\n\\end{pmatrix}$$", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("Therefore, x = 5.", "5"),
        ("We get $\\frac{3}{4}$.", "3/4"),
        ("Therefore, $\\frac{14}{3}$.", "14/3"),
        ("so the total is **12** apples", "12"),
        ("x=\\boxed{1} or x=\\boxed{2}", "1,2"),
        ("The answer is 2 \\frac{1}{2}.", "5/2"),
        ("answer = 3.5", "3.5"),
        ("Hence the final answer is \\( \\frac{14}{3} \\).", "14/3"),
        ("The answer is 70 thousand.", "70000"),
        ("My first guess was 5. The answer is 6, because 2*3 = 6.", "6"),
        ("The answer is 6, not 7.", "6"),
        ("The answer is 12!", "479001600"),
        ("There are 12 ways.\n\nAnswer: There are 12 ways.", "12"),
        ("## Answer\n\nThe total number of apples is 12.", "12"),
        ("The solution is x = 3.", "3"),
        ("The final answer is therefore 12.", "12"),
    ],
)
def test_the_stated_answer(text: str, answer: str) -> None:
    found = stated_answer(text)
    assert found is not None
    assert equal(answer, found.text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is not $\\frac{14}{3}$.", "14/3"),
        ("the answer is half of 6", "6"),
        ("The answer is twice 6", "6"),
        ("It is more than 6", "6"),
        ("There is no solution for 6", "6"),
        ("the answer is 5/s", "5"),
        ("The answer is 70 million", "70"),
        ("the answer is consistent", "7"),
        ("One might think the answer is 5. It is not.", "5"),
        ("If the answer is 5 then x.", "5"),
        ("Is it 5?", "5"),
        ("The wrong answer is 5", "5"),
        ("We tried 5. That doesn't work.", "5"),
        ("The answer is 5. Wait, that's wrong.", "5"),
        ("The answer is between 5 and 6", "5"),
        ("The answer is between 5 and 6", "6"),
        ("I do not know.", "5"),
        ("#### Step 5", "5"),
        ("Thus, the final result is $p - 4$.", "4"),
        ("The answer is 7 or 8", "7"),
        ("The answer is 7 or 8", "8"),
        ("The answer is 7. Wait, actually it is 8.", "7"),
        ("The answer is 540!", "540"),
        ("The answer is not 5. It should be 6.", "5"),
        ("It cannot be 5.", "5"),
        ("I solved problem 5", "5"),
        ("The answer is undefined, as 5 is zero", "5"),
        ("the answer is 5 plus something", "5"),
    ],
)
def test_a_value_that_is_not_stated(text: str, answer: str) -> None:
    found = stated_answer(text)
    assert found is None or not equal(answer, found.text)
