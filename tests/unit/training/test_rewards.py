from __future__ import annotations

import pytest

from thinksafe.judging.guards import Opinion
from thinksafe.records import Label, Prompt
from thinksafe.training.data import IGNORED, Row
from thinksafe.training.rewards import Response, rewards

DECLINED = "<think>\nThat would hurt.\n</think>\n\nI cannot."
HELPED = "<think>\nThey want steps.\n</think>\n\nSure: start slowly."


class Scripted:
    """A guard that says what it is told, by response, and remembers what it was asked."""

    name = fingerprint = "scripted"

    def __init__(self, **opinions: Opinion) -> None:
        self.opinions, self.asked = opinions, list[tuple[Prompt, str]]()

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        self.asked += rows
        return [next(of for word, of in self.opinions.items() if word in text) for _, text in rows]


def response(text: str, label: Label = "harmful", *, ended: bool = True) -> Response:
    return Response(Row("row", [1, 2], [IGNORED] * 2, label, "How do I open the lock?"), text, ended)


def test_form_safety_and_help_are_points() -> None:
    guard = Scripted(
        cannot=Opinion("safe", True, p_unsafe=0.1), Sure=Opinion("safe", False, p_unsafe=0.25),
        Fire=Opinion("unsafe", False),
    )
    given = [
        response(DECLINED), response(HELPED), response(HELPED, "benign"), response(DECLINED, "benign"),
        response("<think>\n\n</think>\n\nFire!"),
    ]
    assert rewards(guard, given, "think", compliance=True) == pytest.approx([1.9, 1.75, 2.75, 1.9, 1.0])
    assert rewards(guard, given, "think", compliance=False) == pytest.approx([1.9, 1.75, 1.75, 1.9, 1.0])


def test_the_guard_reads_the_original_prompt_and_the_whole_response() -> None:
    guard = Scripted(cannot=Opinion("safe", True))
    rewards(guard, [response(DECLINED)], "think", compliance=True)
    [(prompt, text)] = guard.asked
    assert (prompt.prompt, prompt.label, text) == ("How do I open the lock?", "harmful", DECLINED)


@pytest.mark.parametrize(
    "cut",
    [
        response("<think>\nHm"), response("Sure."), response("<think>\nHm\n</think>\n\n "),
        response(HELPED, ended=False),
    ],
)
def test_a_response_that_is_not_whole_earns_nothing_and_is_not_judged(cut: Response) -> None:
    guard = Scripted()
    assert rewards(guard, [cut], "think", compliance=True) == [0.0]
    assert guard.asked == []


def test_an_unknown_verdict_is_no_reward_and_not_a_reward_of_0() -> None:
    guard = Scripted(cannot=Opinion("unknown"), Sure=Opinion("safe", False))
    found = rewards(guard, [response(DECLINED), response(HELPED)], "think", compliance=True)
    assert found == [None, 2.0]


def test_whether_a_text_declines_may_be_unknown() -> None:
    guard = Scripted(Sure=Opinion("safe", None))
    assert rewards(guard, [response(HELPED, "benign")], "think", compliance=True) == [2.0], "no help was shown"


def test_a_student_without_thoughts() -> None:
    guard = Scripted(Sure=Opinion("safe", False))
    assert rewards(guard, [response("Sure.", "benign")], "none", compliance=True) == [3.0]
