"""Tables of prompts: JSON Lines, CSV, TSV and parquet files, local or on S3, and data sets of the hub, row by row.

All of them give the same values: NaN is missing, and a number of 32 or 16 bits is the shortest one that it stores.
"""

from __future__ import annotations

import csv
import gzip
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from thinksafe.errors import InputError
from thinksafe.jsonl import read_json_rows
from thinksafe.models.hub import mirrored
from thinksafe.prompts.values import plain, repeated
from thinksafe.store.remote import local_file, local_folder

Row = tuple[str, dict[str, Any]]
"""Where a row is, for errors (never its text), and its fields by name."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
COMPRESSED = (".gz", ".zst")
"""Endings, after that of the format, of files that are decompressed first."""
_COMMANDS = {".bz2": "bunzip2", ".xz": "unxz", ".lz4": "unlz4", ".zip": "unzip", ".7z": "7z x", ".br": "brotli -d"}


def file_rows(address: str) -> Iterator[Row]:
    """Yield the rows of a file, in order. Its suffix gives the format; an unknown suffix means JSON Lines.

    Args:
        address: Local path, relative to the working directory, or ``s3://bucket/key``. ``.gz`` or ``.zst`` may follow
            the suffix of a text format.

    Raises:
        InputError: the file is missing, its format is not that of its suffix, or a key or column repeats.
        StoreError: an object cannot be read.
    """
    inner = Path(address)
    if command := _COMMANDS.get(inner.suffix.lower()):
        raise InputError(
            f"{address}: files that end in {inner.suffix} are not read.", f"Decompress it: {command} {inner.name}"
        )
    if inner.suffix.lower() in COMPRESSED:
        inner = inner.with_suffix("")
    suffix = inner.suffix.lower()
    with local_file(address) as path, _decompressed(path, address) as text:
        if suffix in DELIMITERS:
            yield from _delimited(text, address, DELIMITERS[suffix])
        elif suffix == ".parquet":
            yield from _parquet(text, address)
        else:
            for number, row in read_json_rows(text, address):
                yield f"{address}, line {number}", plain(row)


@contextmanager
def _decompressed(path: Path, name: str) -> Iterator[Path]:
    """Yield the path itself, or that of a decompressed copy if ``name`` says that the file is compressed."""
    suffix = Path(name).suffix.lower()
    if suffix not in COMPRESSED:
        yield path
        return
    import pyarrow

    if suffix == ".zst" and not pyarrow.Codec.is_available("zstd"):
        raise InputError(f"{name}: this build of pyarrow cannot read Zstandard.", f"Decompress it: unzstd {name}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rows"
        try:
            with path.open("rb") as stream, _unpacking(stream, suffix) as packed, copy.open("wb") as out:
                if not path.stat().st_size:
                    raise EOFError
                shutil.copyfileobj(packed, out, 1 << 20)
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise InputError(f"Cannot read {name}: {error.strerror or error}.", "Check the path.") from error
        except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
            what = "gzip" if suffix == ".gz" else "Zstandard"
            raise InputError(
                f"Cannot read {name}: it is not a whole {what} file.", "Compress it again, or give it uncompressed."
            ) from error
        yield copy


def _unpacking(stream: BinaryIO, suffix: str) -> Any:
    import pyarrow

    return gzip.GzipFile(fileobj=stream) if suffix == ".gz" else pyarrow.CompressedInputStream(stream, "zstd")


def _require_distinct(columns: Iterable[str], name: str) -> None:
    if (twice := repeated(columns)) is not None:
        raise InputError(f"{name}: the column {twice[:80]!r} occurs twice.", "Rename or remove one of them.")


def _delimited(path: Path, name: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 1 << 26))  # contexts are longer than the default of 128 KiB
    try:
        # utf-8-sig: spreadsheets write a byte order mark
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
            _require_distinct(reader.fieldnames or (), f"{name}, line 1")
            for row in reader:
                where = f"{name}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise InputError(f"{where}: more or fewer fields than the first line.", "Quote fields properly.")
                yield where, dict(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        detail = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text of separated fields"
        raise InputError(f"Cannot read {name}: {detail}.", "Check the path and the format.") from error


def _parquet(path: Path, name: str) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with path.open("rb") as stream, pyarrow.parquet.ParquetFile(stream) as table:
            schema = table.schema_arrow
            _require_distinct(schema.names, name)
            narrow = {field.name: str(field.type) for field in schema if str(field.type) in _NARROW}
            for batch in table.iter_batches():
                for row in batch.to_pylist():
                    yield f"{name}, row {number}", _widened(row, narrow)
                    number += 1
    except (OSError, pyarrow.ArrowException) as error:
        detail = (isinstance(error, OSError) and error.strerror) or "it is not a parquet file"
        raise InputError(f"Cannot read {name}: {detail}.", "Check the path and the format.") from error


_NARROW = {"float": "float32", "float32": "float32", "halffloat": "float16", "float16": "float16"}
"""Types of less than 64 bits, as Arrow and ``datasets`` name them, with numpy's name."""


def _widened(row: dict[str, Any], narrow: Mapping[str, str]) -> dict[str, Any]:
    """Return a row with the numbers that its narrow columns stand for: 0.1, not 0.10000000149011612."""
    import numpy as np

    found = dict(plain(row))
    for column, kind in narrow.items():
        if found[column] is not None:
            found[column] = float(str(np.dtype(_NARROW[kind]).type(found[column])))
    return found


def hub_rows(
    repo: str, revision: str, subset: str, split: str, *, file: str = "", gated: bool = False, action: str = ""
) -> Iterator[Row]:
    """Yield the rows of a data set that the ``datasets`` library loads, in order.

    Args:
        repo: Hub id, or a local folder.
        revision: Commit; empty for the newest.
        subset: Configuration of the data set; empty if there is only one.
        split: Split of the data set.
        file: File of the repository to read; by default all that belong to the subset and the split.
        gated: Whether its terms must be accepted on the hub; the error mentions it.
        action: Alternative that the error suggests if it cannot be loaded.

    Raises:
        InputError: there is no such set, it is gated, or the hub cannot be reached.
    """
    import datasets

    source, commit = repo, revision
    if copy := mirrored(repo, revision, dataset=True):
        source, commit = str(local_folder(copy)), ""
    try:
        only = {"data_files": file} if file else {}
        table = datasets.load_dataset(source, subset or None, split=split, revision=commit or None, **only)
    except Exception as error:  # datasets raises many unrelated types for missing, gated and unreachable sets
        gate = (
            f"It is gated: accept its terms at https://huggingface.co/datasets/{repo} and set HF_TOKEN"
            if gated
            else "Check the name, revision and network; a gated set needs HF_TOKEN"
        )
        raise InputError(
            f"Cannot load the data set {repo!r}{f' at {revision}' if revision else ''} ({type(error).__name__}).",
            f"{gate}; {action or 'or mirror it and use a file source'}.",
        ) from error
    kinds = {name: getattr(feature, "dtype", "") for name, feature in (table.features or {}).items()}
    narrow = {name: kind for name, kind in kinds.items() if kind in _NARROW}
    for number, row in enumerate(table):
        yield f"{repo}, row {number}", _widened(row, narrow)
