"""JSON Lines: errors name the place and never the text; files are whole or not there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thinksafe.errors import InputError, StageError
from thinksafe.jsonl import (
    dump_lines,
    parse_records,
    read_json_rows,
    read_lines,
    read_record,
    read_records,
    write_atomic,
    write_json,
    write_records,
)
from thinksafe.records import Outcome, Prompt
from thinksafe.run.manifests import Manifest

SECRET = "SECRET wording of a prompt"
# everything that a str may hold and a JSON file can: no lone surrogates
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(texts=st.lists(TEXT, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_records_survive(tmp_path: Path, make_prompt: Callable[..., Prompt], texts: list[str]) -> None:
    rows = [make_prompt(f"p-{place}", prompt=text) for place, text in enumerate(texts)]
    write_records(tmp_path / "rows.jsonl", rows)
    assert list(read_records(tmp_path / "rows.jsonl", Prompt)) == rows


def test_lines_end_at_newlines_only(tmp_path: Path, make_prompt: Callable[..., Prompt]) -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\rh\nj"
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(make_prompt(prompt=text).model_dump(), ensure_ascii=False) + "\n", "utf-8", newline="")
    (row,) = read_records(path, Prompt)
    assert row.prompt == text
    assert [number for number, _ in read_json_rows(path)] == [1]


def test_blank_lines_windows_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n   \n{"a": 2}')
    assert list(read_json_rows(path)) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f'{{"prompt": "{SECRET}"', "line 3: not valid JSON"),
        (f'"{SECRET}"', "line 3: a str, not an object"),
        (f'["{SECRET}"]', "line 3: a list, not an object"),
        ('{"n": ' + "9" * 5000 + "}", "line 3: not valid JSON"),
        ("[" * 100_000, "line 3: not valid JSON"),
        (f'{SECRET}: {{"a": 1}}', "line 3: not valid JSON"),
    ],
)
def test_bad_line_is_named_without_its_text(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": 1}}\n\n{line}\n')
    with pytest.raises(InputError) as raised:
        list(read_json_rows(path))
    assert f"{path}, {problem}" in raised.value.problem
    assert "SECRET" not in str(raised.value)


SPACE = st.sampled_from(["", " ", "\t", "  "])
FIELDS = {
    "metric": ['"m"', '"a:b"', '"a\\":b"', '"\\u00e4"'], "prompt_id": ['"p"', '"\\": "'], "value": ["0", "0.5", "1e-3"],
}


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_repeated_key_gets_through(tmp_path: Path, data: st.DataObject) -> None:
    """Most rows are only counted, whatever their spaces and the colons in their texts."""
    names = [*FIELDS, *data.draw(st.lists(st.sampled_from([*FIELDS]), max_size=2))]
    pairs = [
        f'"{name}"{data.draw(SPACE)}:{data.draw(SPACE)}{data.draw(st.sampled_from(FIELDS[name]))}'
        for name in data.draw(st.permutations(names))
    ]
    (tmp_path / "o.jsonl").write_text("{" + ", ".join(pairs) + "}\n")
    if len(names) == len(FIELDS):
        assert len(list(read_records(tmp_path / "o.jsonl", Outcome))) == 1
    else:
        with pytest.raises(InputError, match=r"line 1: the key '(metric|prompt_id|value)' occurs twice"):
            list(read_records(tmp_path / "o.jsonl", Outcome))


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '"\\\\ud800"', '"\U0001f600"', '"\\u00e4"'])
def test_characters_that_are_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "o.jsonl").write_text(f'{{"metric": "m", "prompt_id": {text}, "value": 1}}\n', "utf-8")
    assert len(list(read_records(tmp_path / "o.jsonl", Outcome))) == 1


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        list(read_json_rows(path))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*missing"):
        list(read_lines(tmp_path / "missing"))
    with pytest.raises(InputError, match="Cannot read"):
        list(read_lines(tmp_path))
    with pytest.raises(InputError, match="Cannot read"):
        read_record(tmp_path, Prompt)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": SECRET}, "label"),
        ({"prompt": [SECRET]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"answer": {"text": SECRET}}, "answer"),
        ({"foreign": SECRET}, "foreign: Extra inputs"),
        ({SECRET: SECRET}, r"\?: Extra inputs"),
        ({"\x1b[31mred": 1}, r"\?: Extra inputs"),
        ({"id": None}, "id"),
    ],
)
def test_bad_record_names_fields_without_their_text(
    tmp_path: Path, make_prompt: Callable[..., Prompt], change: dict[str, object], field: str
) -> None:
    path = tmp_path / "rows.jsonl"
    good = make_prompt().model_dump()
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | change) + "\n")
    with pytest.raises(InputError, match=f"line 2: not a Prompt .*{field}") as raised:
        list(read_records(path, Prompt))
    assert "SECRET" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_bad_bytes_in_the_store_name_the_source() -> None:
    for line in (b'{"id": "\xff"}', b"{", b"\x00"):
        with pytest.raises(InputError, match="chunk, line 7: not a Prompt"):
            list(parse_records([(7, line)], Prompt, "chunk"))


def test_bad_document_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(f'{{"kind": "{SECRET}"}}')
    with pytest.raises(InputError, match=r"m.json: not a Manifest .*kind") as raised:
        read_record(tmp_path / "m.json", Manifest)
    assert "SECRET" not in str(raised.value)


def test_write_makes_folders_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "a" / "b.json").read_text("utf-8") == '{\n  "a": "ä",\n  "b": 1\n}\n'
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_not_a_number_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StageError, match=r"No space left on device. Free disk space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_targets_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    for target in (tmp_path / "file" / "below", tmp_path, Path(), Path("..")):
        with pytest.raises(StageError, match="Could not write"):
            write_atomic(target, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_dump_is_one_line_a_record(make_prompt: Callable[..., Prompt]) -> None:
    data = dump_lines([make_prompt("a", prompt="x\ny"), make_prompt("b")])
    assert data.count(b"\n") == 2
    assert data.endswith(b"\n")
    assert dump_lines([]) == b""
