"""``thinksafe guards try``: rows in, opinions out, and no text of theirs in any of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.guard_kinds import KINDS

SECRET = "SECRET-TEXT"
REFUSAL = f"I'm sorry, but I can't help with {SECRET}."


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def row(response: str, **more: object) -> dict[str, object]:
    return {"prompt": f"How do I lift the {SECRET}?", "response": response, **more}


def test_the_guards_are_listed(cli: Callable[..., Any]) -> None:
    ended = cli("guards")
    assert ended.code == 0, ended.err
    listed = ended.out
    assert all(f"{kind}: " in listed for kind in KINDS)
    assert listed.count("gated: accept the terms") == sum(about.gated for about in KINDS.values())
    page = (Path(__file__).parents[3] / "docs" / "guards.md").read_text("utf-8")
    for kind, about in KINDS.items():
        assert f"| `{kind}` |" in page, "docs/guards.md compares them all"
        assert about.model in page


def test_opinions_come_in_the_order_of_the_rows(cli: Callable[..., Any], tmp_path: Path) -> None:
    file = write(
        tmp_path / "rows.jsonl", row(REFUSAL), "", row(f"Sure, {SECRET}.", note=SECRET), row(" "),
        row(f"Sure, {SECRET}.", label="benign"),
    )
    ended = cli("guards", "try", file, "--guard", "refusal-match")
    assert ended.code == 0, ended.err
    opinions = [json.loads(line) for line in ended.out.splitlines()]
    assert [(one["verdict"], one["refusal"]) for one in opinions] == [
        ("safe", True), ("unsafe", False), ("unknown", None), ("safe", False),
    ]
    assert opinions[0] == {
        "verdict": "safe", "refusal": True, "p_unsafe": None, "shortened": False, "categories": [], "reason": "",
    }
    assert SECRET not in ended.out + ended.err


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (f"<think>Hm.</think>{REFUSAL}", "safe"), (f"Hm.</think>{REFUSAL}", "safe"), (REFUSAL, "safe"),
        (f"<think>{REFUSAL}</think>Sure, here it is.", "unsafe"),
        (f"<think>{REFUSAL}", "unknown"), (f"<think>{REFUSAL}</think>", "unknown"), (f"{REFUSAL}</think>\n", "unknown"),
    ],
)
def test_an_answer_that_is_not_there_is_unknown(
    cli: Callable[..., Any], tmp_path: Path, response: str, verdict: str
) -> None:
    ended = cli("guards", "try", write(tmp_path / "rows.jsonl", row(response)), "--guard", "refusal-match")
    assert json.loads(ended.out)["verdict"] == verdict


def test_more_rows_than_a_batch_keep_their_order(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thinksafe.cli.guards.BATCH", 2)
    file = write(tmp_path / "rows.jsonl", *(row(REFUSAL if place % 3 else "Sure.") for place in range(7)))
    ended = cli("guards", "try", file, "--guard", "refusal-match")
    assert [json.loads(line)["refusal"] for line in ended.out.splitlines()] == [bool(i % 3) for i in range(7)]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"prompt": SECRET}, "response is not text"),
        ({"response": SECRET}, "prompt is not text"),
        ({"prompt": "", "response": SECRET}, "prompt is not text"),
        (row(SECRET) | {"response": [SECRET]}, "response is not text"),
        (row(SECRET, label=SECRET), "label is neither harmful nor benign"),
        (f"{{{SECRET}", "not valid JSON"),
        ([SECRET], "a list, not an object"),
    ],
)
def test_a_bad_row_is_named_before_any_opinion(
    cli: Callable[..., Any], tmp_path: Path, bad: object, said: str
) -> None:
    file = write(tmp_path / "rows.jsonl", row(REFUSAL), bad)
    ended = cli("guards", "try", file, "--guard", "refusal-match")
    assert (ended.code, ended.out) == (2, "")
    assert f"{file}, line 2: {said}" in ended.err
    assert SECRET not in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--guard", "refusal-mach"], "kind"),
        (["--guard", "refusal-match", "--set", "threshold=0.4"], "threshold"),
        (["--guard", "llama-guard-3", "--set", "thresold=0.4"], "did you mean 'threshold'?"),
        (["--guard", "llama-guard-3", "--set", "threshold"], "not of the form key=value"),
    ],
)
def test_a_wrong_option_is_named(cli: Callable[..., Any], tmp_path: Path, options: list[str], said: str) -> None:
    ended = cli("guards", "try", write(tmp_path / "rows.jsonl", row(REFUSAL)), *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_missing_file_is_named(cli: Callable[..., Any], tmp_path: Path) -> None:
    ended = cli("guards", "try", tmp_path / "none.jsonl", "--guard", "refusal-match")
    assert ended.code == 2
    assert "none.jsonl" in ended.err
