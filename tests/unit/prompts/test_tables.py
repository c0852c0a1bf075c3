"""Tables: one row is the same row from every kind of file."""

from __future__ import annotations

import csv
import gzip
import json
import math
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


def compressed(path: Path) -> str:
    """Compress a file next to itself and return the new file's address."""
    import pyarrow

    if path.suffix in (".gz", ".zst"):
        raise ValueError("already compressed")
    data = path.read_bytes()
    for suffix, pack in ((".gz", gzip.compress), (".zst", pyarrow.Codec("zstd").compress)):
        packed = pack(data)
        path.with_name(path.name + suffix).write_bytes(packed if isinstance(packed, bytes) else packed.to_pybytes())
    return str(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.tsv", "t"])
def test_rows_of_a_compressed_file(tmp_path: Path, name: str, suffix: str) -> None:
    address = compressed(Path(write(tmp_path / name, ROWS))) + suffix
    found = list(file_rows(address))
    assert [row for _, row in found] == ROWS
    assert all(where.startswith(f"{address}, line ") for where, _ in found)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".GZ"])
@pytest.mark.parametrize("kept", [0, 10, -3, None])
def test_a_compressed_file_that_is_not_whole(tmp_path: Path, suffix: str, kept: int | None) -> None:
    """Cut anywhere, or no such file at all: never fewer rows without a word."""
    path = Path(compressed(Path(write(tmp_path / "t.jsonl", ROWS))) + suffix.lower())
    path.rename(path.with_suffix(suffix))
    path = path.with_suffix(suffix)
    path.write_bytes(b'{"prompt": "SECRET"}\n' if kept is None else path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"it is not a whole (gzip|Zstandard) file") as raised:
        list(file_rows(str(path)))
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("t.jsonl.bz2", "bunzip2 t.jsonl.bz2"), ("t.csv.xz", "unxz t.csv.xz"), ("t.zip", "unzip t.zip"),
        ("t.jsonl.7z", "7z x t.jsonl.7z"), ("t.jsonl.LZ4", "unlz4 t.jsonl.LZ4"),
    ],
)
def test_other_compressed_files_are_refused_with_the_command(tmp_path: Path, name: str, action: str) -> None:
    with pytest.raises(InputError, match="are not read") as raised:
        list(file_rows(str(tmp_path / name)))
    assert raised.value.action.endswith(action)


@pytest.mark.parametrize("name", ["missing.jsonl.gz", "missing.csv.zst", "missing.parquet"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"Cannot read .*{name}: No such file"):
        list(file_rows(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.jsonl", b'{"id": "a"}\n{"id": "b", "prompt": "SECRET", "prompt": "x"}\n', "line 2: the key 'prompt'"),
        ("t.jsonl", b'{"id": "a", "x": {"y": 1, "y": "SECRET"}}\n', "line 1: the key 'y' occurs twice"),
        ("t.jsonl", b'{"SECRET wording": 1, "SECRET wording": 2}\n', "line 1: the key '[?]' occurs twice"),
        ("t.csv", b"id,prompt,prompt\na,b,SECRET\n", "line 1: the column 'prompt' occurs twice"),
        ("t.tsv", b"id\tid\na\tb\n", "line 1: the column 'id' occurs twice"),
    ],
)
def test_what_stands_twice_is_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=problem) as raised:
        list(file_rows(str(tmp_path / name)))
    assert "SECRET" not in str(raised.value)


def test_columns_without_a_name_may_repeat(tmp_path: Path) -> None:
    """Spreadsheets write the empty columns at the right."""
    (tmp_path / "t.csv").write_text("id,prompt,,\na,b,,\n")
    assert [(row["id"], row["prompt"]) for _, row in file_rows(str(tmp_path / "t.csv"))] == [("a", "b")]


def test_a_column_of_parquet_that_stands_twice(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table([["a"], ["b"]], names=["prompt", "prompt"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="the column 'prompt' occurs twice"):
        list(file_rows(str(tmp_path / "t.parquet")))


def test_nan_is_missing_and_narrow_numbers_are_what_they_stand_for(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {
        "double": pyarrow.array([0.1, math.nan, None, 72.0], pyarrow.float64()),
        "float": pyarrow.array([0.1, math.nan, None, 16777216.0], pyarrow.float32()),
        "half": pyarrow.array([0.1, math.nan, None, 0.3333], pyarrow.float16()),
        "list": pyarrow.array([[0.5, math.nan], [], None, [1.0]], pyarrow.list_(pyarrow.float64())),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    first, *others = (row for _, row in file_rows(str(tmp_path / "t.parquet")))
    assert first == {"double": 0.1, "float": 0.1, "half": 0.1, "list": [0.5, None]}
    assert [row["float"] for row in others] == [None, None, 16777216.0]
    assert [row["double"] for row in others] == [None, None, 72.0]
    assert others[-1]["half"] == 0.3333
    (tmp_path / "t.jsonl").write_text('{"a": NaN, "b": [NaN, 1.5], "c": {"d": NaN}, "e": "NaN"}\n')
    [(_, row)] = file_rows(str(tmp_path / "t.jsonl"))
    assert row == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": "NaN"}
