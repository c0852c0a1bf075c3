"""Tables of prompts: JSON Lines, CSV, TSV and parquet files, local or on S3, and data sets of the hub, row by row."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thinksafe.errors import InputError
from thinksafe.jsonl import read_json_rows
from thinksafe.models.hub import mirrored
from thinksafe.store.remote import local_file, local_folder

Row = tuple[str, dict[str, Any]]
"""Where a row is, for errors (never its text), and its fields by name."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (".jsonl", *DELIMITERS, ".parquet")


def file_rows(address: str) -> Iterator[Row]:
    """Yield the rows of a file, in order. Its suffix gives the format; an unknown suffix means JSON Lines.

    Args:
        address: Local path, relative to the working directory, or ``s3://bucket/key``.

    Raises:
        InputError: the file is missing, or its format is not that of its suffix.
        StoreError: an object cannot be read.
    """
    suffix = Path(address).suffix.lower()
    with local_file(address) as path:
        if suffix in DELIMITERS:
            yield from _delimited(path, address, DELIMITERS[suffix])
        elif suffix == ".parquet":
            yield from _parquet(path, address)
        else:
            for number, row in read_json_rows(path, address):
                yield f"{address}, line {number}", row


def _delimited(path: Path, name: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 1 << 26))  # contexts are longer than the default of 128 KiB
    try:
        # utf-8-sig: spreadsheets write a byte order mark
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
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
            for batch in table.iter_batches():
                for row in batch.to_pylist():
                    yield f"{name}, row {number}", row
                    number += 1
    except (OSError, pyarrow.ArrowException) as error:
        detail = (isinstance(error, OSError) and error.strerror) or "it is not a parquet file"
        raise InputError(f"Cannot read {name}: {detail}.", "Check the path and the format.") from error


def hub_rows(
    repo: str, revision: str, subset: str, split: str, *, gated: bool = False, action: str = ""
) -> Iterator[Row]:
    """Yield the rows of a data set that the ``datasets`` library loads, in order.

    Args:
        repo: Hub id, or a local folder.
        revision: Commit; empty for the newest.
        subset: Configuration of the data set; empty if there is only one.
        split: Split of the data set.
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
        table = datasets.load_dataset(source, subset or None, split=split, revision=commit or None)
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
    for number, row in enumerate(table):
        yield f"{repo}, row {number}", row
