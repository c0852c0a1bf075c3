from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.run.progress import reporter
from thinksafe_pipelines.local.progress import ProgressFollower, parse_progress

LINE = b'{"task": "train", "label": "training", "done": 1, "total": 4, "reused": 1}'


def test_a_progress_line_is_read() -> None:
    assert parse_progress(LINE) == ("train", "training", 1.0, 4.0, 1.0)


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.dictionaries(st.text(), x)).map(
    lambda value: json.dumps(value).encode()
))
def test_other_lines_are_passed_over(line: bytes) -> None:
    assert parse_progress(line) is None


@pytest.mark.parametrize("change", [
    {"task": 1}, {"label": None}, {"done": "x"}, {"total": None}, {"reused": "x"}, {"done": "1" * 5000},
    {"done": float("nan")},
])
def test_a_line_of_the_wrong_types_is_passed_over(change: dict[str, object]) -> None:
    assert parse_progress(json.dumps({**json.loads(LINE), **change}).encode()) is None


def test_each_whole_line_is_handed_on_once(tmp_path: Path) -> None:
    found: list[float] = []
    path = tmp_path / "new" / "progress.jsonl"
    with ProgressFollower(path, lambda task, label, done, total, reused: found.append(done)), path.open("ab") as stream:
        for number in range(5):
            line = LINE.replace(b"1,", b"%d," % number) + b"\n"
            stream.write(line[:20])
            stream.flush()
            time.sleep(0.1)
            stream.write(line[20:])
            stream.flush()
        stream.write(b"not json\n" + LINE[:30])
    assert found == [0, 1, 2, 3, 4]


def test_what_stages_write_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("THINKSAFE_PROGRESS", str(path))
    found: list[tuple[str, str, float, float, float]] = []
    with ProgressFollower(path, lambda *line: found.append(line)), reporter("sample-base")("sampling", 8) as advance:
        advance(6)
        advance(2, reused=True)
    assert found[-1] == ("sample-base", "sampling", 8, 8, 2)
