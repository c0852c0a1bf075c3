"""Progress: lines for the process that draws the bar, plain lines without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thinksafe.run import progress


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_file_gets_the_start_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "p"))
    with progress.reporter("sample-0")("sampling", 10) as advance:
        for _ in range(10):
            advance(1)
    found = lines(tmp_path / "p")
    assert found[0] == {"task": "sample-0", "label": "sampling", "done": 0, "total": 10, "reused": 0}
    assert found[-1]["done"] == 10
    assert len(found) < 10, "not a line for every row"


def test_file_gets_lines_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "p"))
    monkeypatch.setattr(progress, "FILE_SECONDS", 0.0)
    with progress.reporter("t")("l", 3) as advance:
        advance(2)
        advance(1)
    assert [line["done"] for line in lines(tmp_path / "p")] == [0, 2, 3, 3]


def test_log_is_sparing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.reporter("sample-0")("sampling", 10) as advance:
        advance(4)
        advance(6)
    captured = capsys.readouterr()
    assert captured.err == "sample-0: sampling 10 of 10\n"
    assert captured.out == ""


def test_log_says_what_was_reused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.reporter("sample-0")("sampling", 10) as advance:
        advance(8, reused=True)
        advance(2)
    assert capsys.readouterr().err == "sample-0: sampling 10 of 10, 8 reused\n"


def test_a_failed_stage_shows_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)

    def failing() -> None:
        with progress.reporter("t")("l", 10) as advance:
            advance(4)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert capsys.readouterr().err == "t: l 4 of 10\n"


def test_a_lost_line_does_not_fail_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "missing" / "p"))
    with progress.reporter("t")("l", 1) as advance:
        advance(1)
