r"""JSON Lines files of records: errors name the line, writes are atomic.

Lines are split at ``\n`` only (U+2028 and the like are text), blank lines are skipped, and a file written here ends
with a newline.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from thinksafe.errors import InputError, StageError
from thinksafe.files import writing

R = TypeVar("R", bound=BaseModel)

_CONSTANTS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
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
        InputError: A line is not a JSON object, or a key of one repeats; names the file and line, never the text.
    """
    for number, line in read_lines(path, name):
        place = f"{name or path}, line {number}"
        try:
            value = _parsed(line, place)
        except (ValueError, RecursionError) as error:  # a number with thousands of digits raises a plain ValueError
            detail = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise InputError(f"{place}: not valid JSON{detail}.", "Each line must be one JSON object.") from error
        if not isinstance(value, dict):
            raise InputError(
                f"{place}: a {type(value).__name__}, not an object.", "Each line must be one JSON object."
            )
        yield number, value


def _parsed(text: str, place: str) -> Any:
    """Return the value of JSON text, NaN as None: other programs write it for a missing value.

    Raises:
        InputError: a key repeats; parsers keep the last one.
        ValueError: it is no JSON.
    """

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{place}: the key {_field((twice,))!r} occurs twice.", "Keep one of them.")
        return found

    return json.loads(text, object_pairs_hook=mapping, parse_constant=_CONSTANTS.__getitem__)


def parse_records(data: Iterable[tuple[int, str | bytes]], record: type[R], source: str) -> Iterator[R]:
    """Yield records from (line number, JSON text) pairs. Raises InputError naming source, line and fields."""
    for number, line in data:
        yield _record(line, record, f"{source}, line {number}")


def read_records(path: Path, record: type[R]) -> Iterator[R]:
    """Yield the records of a JSON Lines file. Raises InputError (file, line, and fields or the key that repeats)."""
    for number, line in read_lines(path):
        place = f"{path}, line {number}"
        try:
            found = _record(line, record, place)
        except InputError:
            _require_distinct(line, place)
            raise
        # as many colons as fields, each behind a quotation mark: no key repeats; this is most rows, and fast
        if "\\u" in line or not line.count(":") == line.count('":') == len(found.model_fields_set):
            _require_distinct(line, place)
        yield found


def _record(line: str | bytes, record: type[R], place: str) -> R:
    try:
        return record.model_validate_json(line)
    except ValidationError as error:
        raise InputError(
            f"{place}: not a {record.__name__} ({_problems(error)}).", "Correct the row or write the file again."
        ) from error


def _require_distinct(text: str, place: str) -> None:
    """Raise InputError for what the records' own parser takes without a word, or names in words that do not help."""
    with suppress(ValueError, RecursionError):  # what is no JSON is named by that parser
        value = _parsed(text, place)
        if "\\u" in text:
            require_characters(json.dumps(value, ensure_ascii=False), place)


def require_characters(text: str, place: str) -> None:
    r"""Raise InputError if a text has half of a surrogate pair (``\ud800``), which no file can store."""
    if found := _HALF_PAIR.search(text):
        raise InputError(
            f"{place}: half of a surrogate pair (\\u{ord(found.group()):04x}), which is no character.",
            r"Write the character itself, both halves (\ud83d\ude00), or \ufffd in its place.",
        )


def read_record(path: Path, record: type[R]) -> R:
    """Read one JSON document. Raises InputError (file and fields)."""
    try:
        data = path.read_bytes()
        _require_distinct(data.decode("utf-8", "replace"), str(path))
        return record.model_validate_json(data)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error
    except ValidationError as error:
        raise InputError(
            f"{path}: not a {record.__name__} ({_problems(error)}).", "Write the file again."
        ) from error


def _problems(error: ValidationError) -> str:
    """Name fields and rules without input values, which may be harmful text."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{_field(item['loc'])}: {item['msg'].removeprefix('Value error, ')}" for item in found[:5])


def _field(location: tuple[int | str, ...]) -> str:
    # an unknown key is text of the row, so it is shown only if it looks like a field name
    return ".".join(part if _NAME.fullmatch(part) else "?" for part in map(str, location)) or "row"
