"""Tables: one row is the same row from every kind of file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from thinksafe.errors import InputError
from thinksafe.prompts.tables import file_rows

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "One, \"two\"\nand three?", "note": "ü\u2028x"},
    {"id": "b", "prompt": "x" * 200_000, "note": ""},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.TSV", "t.parquet", "t"])
def test_rows_of_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix.isupper():
        Path(write(path.with_suffix(path.suffix.lower()), ROWS)).rename(path)
    else:
        write(path, ROWS)
    found = list(file_rows(str(path)))
    assert [row for _, row in found] == ROWS
    assert [where.startswith(str(path)) for where, _ in found] == [True, True]
    assert len({where for where, _ in found}) == 2


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", b"id,prompt\na,b,SECRET\n", "line 2: more or fewer fields"),
        ("t.csv", b"id,prompt\na\n", "line 2: more or fewer fields"),
        ("t.csv", b'id,prompt\na,"b" SECRET\n', "not UTF-8 text of separated fields"),
        ("t.csv", b"id,prompt\na,\xff\n", "not UTF-8 text"),
        ("t.parquet", b"PAR1 SECRET", "not a parquet file"),
        ("t.jsonl", b'{"id": SECRET', "line 1: not valid JSON"),
    ],
)
def test_a_file_that_is_not_what_it_says(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=problem) as raised:
        list(file_rows(str(tmp_path / name)))
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("name", ["none.jsonl", "none.csv", "none.parquet"])
def test_missing_file(name: str) -> None:
    with pytest.raises(InputError, match=f"Cannot read {name}: No such file"):
        list(file_rows(name))
