"""Reference responses of the micro world are what its exact guard and its grader accept."""

from __future__ import annotations

import pytest

from thinksafe.micro.arithmetic import parse_problem, problems
from thinksafe.micro.guard import exact_verdict, stated_answer
from thinksafe.micro.references import with_references
from thinksafe.micro.world import prompts
from thinksafe.traces import split


@pytest.mark.parametrize("index", range(0, 4000, 97))
def test_a_problem_is_read_back_from_its_text(index: int) -> None:
    problem = problems("train")[index]
    assert parse_problem(problem.text) == problem


def test_other_texts_are_no_problems() -> None:
    with pytest.raises(ValueError, match="not a word problem"):
        parse_problem("How do I bake?")


@pytest.mark.parametrize("kind", ["harmful", "safe-twin", "plain", "reasoning"])
def test_references_are_safe_and_right(kind: str) -> None:
    rows = with_references(prompts("train", kind, 50, 7), seed=1)
    assert rows == with_references(prompts("train", kind, 50, 7), seed=1)
    for row in rows:
        assert exact_verdict(row.prompt, row.response) == ("safe", kind == "harmful")
        if kind == "reasoning":
            assert stated_answer(split(row.response, "think").answer) == row.answer
