r"""JSON Lines files of records: errors name the line, writes are atomic.

Lines are split at ``\n`` only (U+2028 and the like are text), blank lines are skipped, and a file written here ends
with a newline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from thinksafe.errors import InputError, StageError
from thinksafe.files import writing

R = TypeVar("R", bound=BaseModel)

_NAME = re.compile(r"[\w-]{1,40}")


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader sees all of it or nothing. Raises StageError (disk full, no access)."""
    try:
        with writing(path) as stream:
            stream.write(data)
    except OSError as error:
        raise StageError(
            f"Could not write {path}: {error.strerror or error}.",
            "Free disk space or fix the permissions, then start the same command again.",
        ) from error


def dump_lines(rows: Iterable[BaseModel]) -> bytes:
    """Return records as the bytes of a JSON Lines file."""
    return b"".join(row.model_dump_json().encode() + b"\n" for row in rows)


def write_records(path: Path, rows: Iterable[BaseModel]) -> None:
    """Write records to a JSON Lines file atomically."""
    write_atomic(path, dump_lines(rows))


def write_json(path: Path, value: BaseModel | dict[str, Any] | list[Any]) -> None:
    """Write one readable JSON document atomically (two spaces; sorted keys unless it is a record)."""
    if isinstance(value, BaseModel):
        text = value.model_dump_json(indent=2)
    else:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def read_lines(path: Path, name: str = "") -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of the non-blank lines; errors show ``name`` instead of the path.

    Raises:
        InputError: the file is missing, unreadable or not UTF-8.
    """
    number = 0
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                # some editors start a file with a byte order mark
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise InputError(f"{name or path}, line {number}: not UTF-8 text.", "Save the file as UTF-8.") from error
    except OSError as error:
        raise InputError(f"Cannot read {name or path}: {error.strerror or error}.", "Check the path.") from error


def read_json_rows(path: Path, name: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, JSON object) of a JSON Lines file; errors show ``name`` instead of the path.

    Raises:
        InputError: A line is not a JSON object; names the file and line, never the text.
    """
    for number, line in read_lines(path, name):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:  # a number with thousands of digits raises a plain ValueError
            detail = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise InputError(
                f"{name or path}, line {number}: not valid JSON{detail}.", "Each line must be one JSON object."
            ) from error
        if not isinstance(value, dict):
            raise InputError(
                f"{name or path}, line {number}: a {type(value).__name__}, not an object.",
                "Each line must be one JSON object.",
            )
        yield number, value


def parse_records(data: Iterable[tuple[int, str | bytes]], record: type[R], source: str) -> Iterator[R]:
    """Yield records from (line number, JSON text) pairs. Raises InputError naming source, line and fields."""
    for number, line in data:
        try:
            yield record.model_validate_json(line)
        except ValidationError as error:
            raise InputError(
                f"{source}, line {number}: not a {record.__name__} ({_problems(error)}).",
                "Correct the row or write the file again.",
            ) from error


def read_records(path: Path, record: type[R]) -> Iterator[R]:
    """Yield the records of a JSON Lines file. Raises InputError (file, line and fields)."""
    return parse_records(read_lines(path), record, str(path))


def read_record(path: Path, record: type[R]) -> R:
    """Read one JSON document. Raises InputError (file and fields)."""
    try:
        return record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error
    except ValidationError as error:
        raise InputError(
            f"{path}: not a {record.__name__} ({_problems(error)}).", "Write the file again."
        ) from error


def _problems(error: ValidationError) -> str:
    """Name fields and rules without input values, which may be harmful text."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{_field(item['loc'])}: {item['msg']}" for item in found[:5])


def _field(location: tuple[int | str, ...]) -> str:
    # an unknown key is text of the row, so it is shown only if it looks like a field name
    return ".".join(part if _NAME.fullmatch(part) else "?" for part in map(str, location)) or "row"
