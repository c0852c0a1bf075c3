"""``thinksafe benchmarks grade`` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thinksafe.cli import main
from thinksafe.cli.benchmarks import grade
from thinksafe.errors import InputError


def graded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *rows: dict[str, object], explain: bool = False
) -> list[dict]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    grade(path, explain=explain)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_same_rows_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": 1, "response": "<think>5</think>The answer is 14/3.", "answer": "4\\frac{2}{3}"},
        {"id": 2, "response": "The answer is B.", "answer": "B", "options": 4},
        {"id": 3, "response": "<think>The answer is 5", "answer": "5"},
        {"id": 4, "response": "9 + 9</think>\\boxed{18}", "answer": 18},
        {"id": 5, "response": "It is (A).", "answer": "north", "options": ["north", "south"]},
        {"id": 6, "response": "no idea \u2028", "answer": "5"},
        {"id": 7, "response": "The answer is 12 \\pmod{13}", "answer": "12"},
    ]
    found = graded(tmp_path, capsys, *rows)
    assert [{key: row[key] for key in before} for row, before in zip(found, rows, strict=True)] == rows
    assert [row["correct"] for row in found] == [True, True, False, True, True, False, False]
    assert [row["extracted"] for row in found] == ["14/3", "B", None, "18", "A", None, "12 \\pmod{13}"]
    assert [row["reading"] for row in found] == [
        "statement: 14/3", "option: B", "unfinished thought", "box: 18", "option: A", "nothing stated",
        "statement: unreadable",
    ]


def test_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"response": "\\boxed{5}", "answer": "6"}, {"response": "\\foo", "answer": "6"},
        {"response": "It is B.", "answer": "C", "options": 3}, {"response": "<think>", "answer": "6"},
        {"response": "\\boxed{5 \\foo}", "answer": "\\foo"},
    ]
    found = graded(tmp_path, capsys, *rows, explain=True)
    assert [row["explanation"] for row in found] == [
        "Found by the rule `box`. It is read as 5. The reference is 6. They are not equal.",
        "The text states no answer, so it counts as wrong.",
        "The answer gives option B; option C is right.",
        "The thought is not closed, so it counts as wrong.",
        (
            "Found by the rule `box`. It cannot be read whole, so it equals only the same text. The reference is "
            "compared as a text, because it cannot be read whole. They are not equal."
        ),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not valid JSON"), ("[]", "a list"), ('{"answer": "5"}', "`response`"), ('{"response": "5"}', "`answer`"),
        ('{"response": "5", "answer": " "}', "`answer`"), ('{"response": 5, "answer": "5"}', "`response`"),
        ('{"response": "B", "answer": "B", "options": 27}', "27 lettered options"),
        ('{"response": "B", "answer": "B", "options": 1}', "1 lettered options"),
        ('{"response": "B", "answer": "B", "options": "four"}', "`options`"),
        ('{"response": "B", "answer": "E", "options": 4}', "names none"),
        ('{"response": "B", "answer": true}', "`answer`"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"response": "5", "answer": "5"}\n' + line + "\n", "utf-8")
    with pytest.raises(InputError, match=f"line 2.*{says}") as raised:
        grade(path)
    assert str(path) in raised.value.problem
    assert raised.value.exit_code == 2
    assert not capsys.readouterr().out, "nothing is graded before all rows are known to be good"


def test_a_missing_file_is_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["thinksafe", "benchmarks", "grade", str(tmp_path / "none.jsonl")])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 2
