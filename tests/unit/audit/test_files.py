from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thinksafe.audit.files import (
    LABELS,
    Labels,
    check_place,
    defused,
    key_path,
    read_key,
    read_labels,
    require_first_part,
    write_sample,
)
from thinksafe.audit.records import AuditItem, AuditKey
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.store.local import LocalStore


def key(name: str = "a-1", **changes: Any) -> AuditKey:
    given = {
        "id": name, "run_id": "r", "role": "base", "benchmark": "b", "sample_id": f"s{name}", "part": "whole",
        "guard": "g", "verdict": "unsafe", "p_unsafe": 0.75, "threshold": 0.5, "stratum": "base/b/unsafe",
        "stratum_size": 8, "stratum_rows": 2, "probability": 0.25, "weight": 4.0, "prompts": 8,
    }
    return AuditKey.model_validate(given | changes)


def item(name: str = "a-1", prompt: str = "What?", response: str = "That.") -> AuditItem:
    return AuditItem(id=name, prompt=prompt, response=response)


def sample(path: Path, *texts: tuple[str, str], blind: bool = True) -> Path:
    names = [f"a-{i}" for i in range(len(texts))]
    keys = [key(name, stratum_rows=len(texts), probability=len(texts) / 8, weight=8 / len(texts)) for name in names]
    write_sample(path, [item(n, *text) for n, text in zip(names, texts, strict=True)], keys, blind)
    return path


@pytest.mark.parametrize("name", ["audit.csv", "audit.jsonl"])
def test_the_blind_file_says_nothing_of_verdict_model_or_weight(tmp_path: Path, name: str) -> None:
    path = sample(tmp_path / "new" / name, ("p1", "r1"), ("p2", "r2"))
    text = path.read_text("utf-8-sig")
    for word in ("unsafe", "0.75", "base", "weight", "sa-0"):
        assert word not in text
    hidden = key_path(path)
    assert hidden.name == "audit.key.jsonl"
    for secret in ("p1", "r1", "p2", "r2"):
        assert secret not in hidden.read_text()
    for file in (path, hidden):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, hidden.name])
    assert list(read_key(hidden)) == ["a-0", "a-1"]


def test_with_verdicts_each_row_has_its_probability_and_weight(tmp_path: Path) -> None:
    path = sample(tmp_path / "a.jsonl", ("p1", "r1"), ("p2", "r2"), blind=False)
    row = json.loads(path.read_text().splitlines()[0])
    assert (row["verdict"], row["weight"], row["probability"], row["role"]) == ("unsafe", 4.0, 0.25, "base")
    path = sample(tmp_path / "a.csv", ("p1", "r1"), blind=False)
    assert path.read_text("utf-8-sig").splitlines()[0].endswith('"stratum","probability","weight"')


hostile = st.one_of(
    st.text(max_size=60),
    st.sampled_from(['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", '";=1', "a\0b"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.tuples(hostile, hostile), min_size=1, max_size=4))
def test_no_cell_is_a_formula_and_every_row_comes_back(tmp_path: Path, texts: list[tuple[str, str]]) -> None:
    path = sample(tmp_path / "a.csv", *texts)
    data = path.read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(data, newline="")))
    assert [row["id"] for row in rows] == [f"a-{i}" for i in range(len(texts))]
    for row, (prompt, response) in zip(rows, texts, strict=True):
        for cell, text in ((row["prompt"], prompt), (row["response"], response)):
            assert not cell.lstrip(" ")[:1] or cell.lstrip(" ")[0] not in "=+-@\t\r\n"
            assert cell.removeprefix("'") == text.replace("\0", "\ufffd").removeprefix("'")
    assert read_labels(path, [f"a-{i}" for i in range(len(texts))]).given == {}
    path = sample(tmp_path / "a.jsonl", *texts)
    found = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    assert [(row["prompt"], row["response"]) for row in found] == texts


def test_plain_text_is_left_alone() -> None:
    assert defused("Step 1 = 2") == "Step 1 = 2"
    assert defused("") == ""
    assert defused(" - a") == "' - a"


@pytest.mark.parametrize("out", ["s3://bucket/a.csv", "a.txt", "a", "a.key.jsonl", "a.xlsx"])
def test_places_that_are_refused(tmp_path: Path, out: str) -> None:
    with pytest.raises(ConfigError):
        check_place(out, LocalStore(tmp_path / "store"), replace=False)


def test_the_store_and_files_with_labels_are_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for out in (tmp_path / "store" / "a.csv", tmp_path / "store" / "x" / "a.csv", tmp_path / "link" / "a.csv"):
        with pytest.raises(ConfigError, match="inside the store"):
            check_place(str(out), store, replace=True)
    assert check_place(str(tmp_path / "a.csv"), store, replace=False) == tmp_path / "a.csv"
    for name in ("a.csv", "a.key.jsonl"):
        (tmp_path / name).touch()
        with pytest.raises(ConfigError, match="may contain labels"):
            check_place(str(tmp_path / "a.csv"), store, replace=False)
        assert check_place(str(tmp_path / "a.csv"), store, replace=True)
        (tmp_path / name).unlink()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match="Could not write"):
        sample(tmp_path / "file" / "a.csv", ("p", "r"))


def write(path: Path, *rows: tuple[str, str], separator: str = ",", encoding: str = "utf-8-sig") -> Path:
    if path.suffix == ".csv":
        lines = [separator.join(("ID", "note", "Label")), *(separator.join((n, "", label)) for n, label in rows)]
        path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    else:
        path.write_text("".join(json.dumps({"id": n, "label": label}) + "\n" for n, label in rows))
    return path


KNOWN = ["a-0", "a-1", "a-2"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_labels_are_read_as_people_and_their_programs_write_them(tmp_path: Path, suffix: str, separator: str) -> None:
    rows = ("a-2", " Unsafe "), ("a-0", "SAFE"), ("a-1", "")
    found = read_labels(write(tmp_path / f"l.{suffix}", *rows, separator=separator), KNOWN)
    assert found.given == {"a-2": "unsafe", "a-0": "safe"}
    assert found.missing == ["a-1"]


@given(st.lists(st.booleans(), max_size=8))
def test_labels_are_a_first_part_of_the_sample(given: list[bool]) -> None:
    order = [f"a-{place}" for place in range(len(given))]
    names = [name for name, has in zip(order, given, strict=True) if has]
    labels = Labels(dict.fromkeys(names, "safe"), [name for name in order if name not in names])
    if names == order[: len(names)]:
        require_first_part(Path("l.csv"), labels, order)
    else:
        with pytest.raises(InputError, match=f"the row 'a-{given.index(False)}' has no label, but rows after it have"):
            require_first_part(Path("l.csv"), labels, order)


@pytest.mark.parametrize("column", ["id", "label"])
def test_a_column_that_stands_twice(tmp_path: Path, column: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(f"id,label,{column.upper()}\na-0,safe,a-0\n")
    with pytest.raises(InputError, match=f"line 1: the column '{column}' occurs twice"):
        read_labels(path, KNOWN)


def test_a_key_that_stands_twice_and_a_missing_label(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text('{"id": "a-0", "label": NaN}\n{"id": "a-1", "label": "safe"}\n')
    assert read_labels(path, KNOWN).given == {"a-1": "safe"}
    path.write_text('{"id": "a-0", "label": "safe", "label": "unsafe"}\n')
    with pytest.raises(InputError, match="line 1: the key 'label' occurs twice"):
        read_labels(path, KNOWN)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([("a-0", "safe"), ("a-1", "maybe a secret")], r"line 3 \(id 'a-1'\): the label is not one of safe, unsafe"),
        ([("a-0", "safe"), ("a-9", "safe")], r"line 3 \(id 'a-9'\): this id is not in the sample"),
        ([("a-0", "safe"), ("a-0", "unsafe")], r"line 3 \(id 'a-0'\): this id occurs twice"),
        ([("a-0", ""), ("a-0", "unsafe")], r"line 3 \(id 'a-0'\): this id occurs twice"),
        ([("a-0", "safe"), ("", "safe")], "line 3: the row has no id"),
    ],
)
def test_bad_rows_are_named_by_line_and_id(
    tmp_path: Path, suffix: str, rows: list[tuple[str, str]], what: str
) -> None:
    if suffix == "jsonl":
        what = what.replace("line 3", "line 2")
    with pytest.raises(InputError, match=what) as caught:
        read_labels(write(tmp_path / f"l.{suffix}", *rows), KNOWN)
    assert "secret" not in str(caught.value)


def test_lines_count_as_an_editor_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text('id,label,response\na-0,safe,"two\nlines, and\nthree"\na-1,no,x\n')
    with pytest.raises(InputError, match=r"line 5 \(id 'a-1'\)"):
        read_labels(path, KNOWN)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no columns 'id' and 'label'"), (b"id,labels\n", "no columns 'id' and 'label'"),
        (b'id,label\na-0,"safe', "not CSV"), ("id,label\na-0,s\xe4fe\n".encode("latin-1"), "not UTF-8"),
        (b'id,label\na-0,"sa"fe\n', "not CSV"),
    ],
)
def test_files_that_are_not_csv(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "l.csv").write_bytes(data)
    with pytest.raises(InputError, match=what):
        read_labels(tmp_path / "l.csv", KNOWN)


def test_a_long_response_can_be_read_back(tmp_path: Path) -> None:
    path = sample(tmp_path / "a.csv", ("p", "x" * 400_000))
    assert read_labels(path, ["a-0"]).missing == ["a-0"]
    assert csv.field_size_limit() == 131072


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ([], "is empty"), ([key("a-1", stratum_rows=1), key("a-1")], "twice"), ([key("a-1")], "1 of 2 rows"),
        ([key("a-1"), key("a-2", stratum_size=9)], "incomplete"),
        ([key("a-1", stratum_rows=1), key("a-2", stratum_rows=1, stratum="x", part="answer")], "several parts"),
    ],
)
def test_a_key_that_was_changed(tmp_path: Path, keys: list[AuditKey], what: str) -> None:
    path = tmp_path / "a.key.jsonl"
    path.write_text("".join(found.model_dump_json() + "\n" for found in keys))
    with pytest.raises(InputError, match=what):
        read_key(path)


def test_labels_are_three(judged: Callable[..., Any]) -> None:
    assert LABELS == ("safe", "unsafe", "unsure")
