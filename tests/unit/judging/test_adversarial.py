"""Sentences made to mislead a grader: what looks like an answer and is none, and what is one in spite of its looks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thinksafe.judging.grading import judge_answer

ACCEPTED = [
    ("The answer is 7. I am sure the answer is right.", "7"),
    ("The answer is 7. This answer is consistent with the table above.", "7"),
    ("The answer is 7. Note that the answer is not 8.", "7"),
    ("One might think the answer is 8, but the answer is 7.", "7"),
    ("If the answer is 8, then x = 3, which fails. So the answer is 7.", "7"),
    ("The answer is not 8. The answer is 7.", "7"),
    ("It is wrong that the answer is 8. The answer is 7.", "7"),
    ("A common wrong answer is 8. The correct answer is 7.", "7"),
    ("My first answer was 8. The answer is 7.", "7"),
    ("The answer is 8. Wait, that's wrong. The answer is 7.", "7"),
    ("The answer is 8. Wait, I made a mistake. It should be 7.", "7"),
    ("The answer is 8. Actually, no, it is 7.", "7"),
    ("\\boxed{8}. Wait, I made a mistake: the answer is 7.", "7"),
    ("First I get \\boxed{8}, but this is wrong. So \\boxed{7}.", "7"),
    ("The answer is not \\boxed{8} but \\boxed{7}.", "7"),
    ("#### Step 1: Count 3 apples\nThe answer is 7.", "7"),
    ("The answer is 7.\n\n#### Conclusion", "7"),
    ("The answer is 7.\n\n### Check\n\n3 + 4 = 7", "7"),
    ("The answer is 7.\nLet me know if you have 2 more questions!", "7"),
    ("The answer is 7, not 8.", "7"),
    ("The answer is 7 (not 8).", "7"),
    ("The answer is 7, as 3 + 4 = 7.", "7"),
    ("The answer is 7; the other 2 cases fail.", "7"),
    ("The answer is 3 + 4 = 7.", "7"),
    ("The answer is x = 3 + 4 = 7.", "7"),
    ("The answer is $7$ because $3+4=7$.", "7"),
    ("So 7 is the answer.", "7"),
    ("So the answer, after 3 steps, is clear.\n\n**Answer: 7**", "7"),
    ("Is the answer 8? No. The answer is 7.", "7"),
    ("Answer: There are 7 ways.", "7"),
    ("### Answer\n\nThe total is 7.", "7"),
    ("Of the 20 eggs 13 broke, so 7 were left.", "7"),
    ("20 - 13 = 7", "7"),
    ("So we get 20 - 13 = 7 eggs.", "7"),
    ("The answer is exactly 7.", "7"),
    ("The answer is approximately 7.", "7"),
    ("The answer is therefore 7.", "7"),
    ("The answer is seven.", "7"),
    ("The answer is 7 apples in total.", "7"),
    ("The answer is 7.0 kg.", "7"),
    ("The answer is $7.00.", "7"),
    ("The answer is 7!", "5040"),
    ("The answer is 7 thousand.", "7000"),
    ("The answer is \\(\\frac{14}{2}\\).", "7"),
    ("The answer is 70 \\div 10 \\text{ apples}.".replace("\\div", "/"), "7"),
    ("The answer is the same as before: 7.", "7"),
    ("The answer is p - q, not q - p.", "p - q"),
    ("Thus, the final result is $p - q$.", "p - q"),
    ("The answer is east. The answer is right.", "\\text{east}"),
    ("She walks east for 2 miles.\n\nAnswer: east", "\\text{east}"),
    ("The answer is $(-\\infty, 2) \\cup (2, \\infty)$.", "x \\ne 2"),
    (
        "The solution is all real numbers except $2$.\n\n$\\boxed{(-\\infty,2)\\cup(2,\\infty)}$",
        "(-\\infty,2)\\cup(2,\\infty)",
    ),
]
REFUSED = [
    ("The answer is not 7.", "7"),
    ("The answer isn't 7.", "7"),
    ("The answer cannot be 7.", "7"),
    ("The answer is definitely not 7.", "7"),
    ("The answer is never 7.", "7"),
    ("The answer is not $7$.", "7"),
    ("The answer is not \\boxed{7}.", "7"),
    ("It isn't 7.", "7"),
    ("It cannot be 7", "7"),
    ("Not 7.", "7"),
    ("The answer is half of 7.", "7"),
    ("The answer is twice 7.", "7"),
    ("The answer is more than 7.", "7"),
    ("The answer is less than 7.", "7"),
    ("The answer is at least 7.", "7"),
    ("The answer is at most 7", "7"),
    ("The answer is between 7 and 9.", "7"),
    ("The answer is between 5 and 7.", "7"),
    ("The answer is 7 or 8.", "7"),
    ("The answer is 8 or 7.", "7"),
    ("The answer is either 7 or 8.", "7"),
    ("The answer is 7 and 8.", "7"),
    ("The answer is 7 more than x.", "7"),
    ("The answer is 7 times x.", "7"),
    ("The answer is 7 squared.", "7"),
    ("The answer is 7 million.", "7"),
    ("The answer is 7 dozen.", "7"),
    ("The answer is 7!", "7"),
    ("The answer is 7 and a half.", "7"),
    ("The answer is 7/s.", "7"),
    ("The answer is 7^x", "7"),
    ("The answer is 7x.", "7"),
    ("The answer is 7 + x.", "7"),
    ("The answer is $7\\sqrt{2}$.", "7"),
    ("The answer is $\\sqrt{7}$.", "7"),
    ("The answer is 7 mod 5.", "7"),
    ("The answer is $7 \\pmod{5}$.", "7"),
    ("The answer is $7_8$.", "8"),
    ("The answer is 7%.", "0.7"),
    ("The answer is 700%.", "700.5"),
    ("There is no solution for 7.", "7"),
    ("The answer is no solution for 7.", "7"),
    ("No answer, but 7 is close.", "7"),
    ("If the answer is 7 then x = 2.", "7"),
    ("Suppose the answer is 7.", "7"),
    ("Is the answer 7?", "7"),
    ("Could it be that the answer is 7?", "7"),
    ("One might think the answer is 7.", "7"),
    ("The wrong answer is 7.", "7"),
    ("I doubt that the answer is 7.", "7"),
    ("Some say the answer is 7.", "7"),
    ("It is false that the answer is 7.", "7"),
    ("The answer is 7. Wait, that's wrong.", "7"),
    ("The answer is 7. Wait, it should be 8.", "7"),
    ("The answer is 7. No, the answer is 8.", "7"),
    ("\\boxed{7}. Wait, I made a mistake: the answer is 8.", "7"),
    ("The answer is 7. Actually, it is 8.", "7"),
    ("The answer is 7. Correction: the answer is 8.", "7"),
    ("See question 7", "7"),
    ("#### Step 7", "7"),
    ("This is problem 7.", "7"),
    ("7. Count the eggs", "7"),
    ("The answer is undefined, as 7 is not in the domain.", "7"),
    ("The answer is unknown. We have 7 equations.", "7"),
    ("We tried 7, but it does not work.", "7"),
    ("I do not know. Maybe 7.", "7"),
    ("Perhaps 7?", "7"),
    ("7?", "7"),
    ("The answer is $x > 7$.", "7"),
    ("The answer is $x \\ne 7$.", "7"),
    ("The answer is $(7, 8)$.", "7"),
    ("The answer is 7:8.", "7"),
    ("The answer is 2 + 2 = 7.", "7"),
    ("The answer is 7 - 1.", "7"),
    ("The answer is $7 \\operatorname{foo}(x)$.", "7"),
    ("The answer is $7 \\foo$.", "7"),
    ("The answer is $7 \\cdot$", "7"),
    ("The answer is listen.", "\\text{silent}"),
    ("The answer is q - p.", "p - q"),
    ("The answer is 0.33.", "\\frac{1}{3}"),
    ("The answer is not east.", "\\text{east}"),
    ("The answer is east or west.", "\\text{east}"),
    ("The answer is east.\nWait, the answer is west.", "\\text{east}"),
]


@pytest.mark.parametrize(("text", "reference"), ACCEPTED)
def test_an_answer_in_spite_of_its_surroundings(text: str, reference: str) -> None:
    judged = judge_answer(text, reference)
    assert judged.correct, judged


@pytest.mark.parametrize(("text", "reference"), REFUSED)
def test_what_only_looks_like_the_answer(text: str, reference: str) -> None:
    judged = judge_answer(text, reference)
    assert not judged.correct, judged


SENTENCES = Path(__file__).parents[2] / "support" / "sentences.jsonl"


def test_sentences_about_seven() -> None:
    """Over 300 short answers, to a problem whose answer is 7."""
    rows = [json.loads(line) for line in SENTENCES.read_text("utf-8").splitlines()]
    assert len(rows) > 300
    assert not [row for row in rows if judge_answer(row["response"], "7").correct != row["correct"]]
