"""The files of an audit: the rows that a person labels, and the key that says what the rows are.

The file for people contains prompts and responses. It shows the guard's verdicts only on request. The key contains the
rest and no text. Only their owner can read either file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from thinksafe.audit.records import AuditItem, AuditKey, Label
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.files import writing
from thinksafe.jsonl import dump_lines, read_json_rows, read_records
from thinksafe.store import Store

LABELS: tuple[Label, ...] = get_args(Label)
SUFFIXES = (".csv", ".jsonl")
KEY_SUFFIX = ".key.jsonl"
SHOWN = ("role", "benchmark", "verdict", "p_unsafe", "stratum", "probability", "weight")
"""Fields of the key that a file with verdicts has too."""
LONGEST_CELL = 32_767
"""Longest cell, in characters, that spreadsheet programs keep whole."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_FIELD = 1 << 30


def key_path(path: Path) -> Path:
    """Return the path of the key for a file for people: ``audit.key.jsonl`` for ``audit.csv``."""
    return path if path.name.endswith(KEY_SUFFIX) else path.with_name(path.stem + KEY_SUFFIX)


def check_place(out: str, store: Store, replace: bool) -> Path:
    """Return the path of a new file that will contain harmful text.

    Raises:
        ConfigError: The ending is unknown, it is an address or inside the store, or the file exists: hours of
            labelling could be lost.
    """
    path = Path(out)
    if "://" in out or path.suffix not in SUFFIXES or path.name.endswith(KEY_SUFFIX):
        raise ConfigError(
            f"The audit cannot be written to {out[:200]!r}.", "Name a file on this machine that ends in .csv or .jsonl."
        )
    if "://" not in store.root and path.absolute().resolve().is_relative_to(Path(store.root).absolute().resolve()):
        raise ConfigError(
            f"{out[:200]!r} is inside the store, which others read.", "Name a file outside; it will have harmful text."
        )
    for file in (path, key_path(path)):
        if file.exists() and not replace:
            raise ConfigError(f"The file {file} exists and may contain labels.", "Name another file, or add --replace.")
    return path


def write_sample(path: Path, items: Sequence[AuditItem], keys: Sequence[AuditKey], blind: bool) -> None:
    """Write the key, then the file for people (CSV or JSON Lines, by its ending); each is written atomically."""
    rows = [
        item.model_dump() | ({} if blind else key.model_dump(include=set(SHOWN)))
        for item, key in zip(items, keys, strict=True)
    ]
    _write_private(key_path(path), dump_lines(keys))
    _write_private(path, _csv(rows) if path.suffix == ".csv" else _json_lines(rows))


def _json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for row in rows)


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return rows as CSV that spreadsheets open as text: a byte order mark, every cell quoted, no formulas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(rows[0])
    writer.writerows([defused("" if value is None else str(value)) for value in row.values()] for row in rows)
    return text.getvalue().encode("utf-8-sig", "replace")


def defused(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: text that starts like one gets an apostrophe in front.

    NUL, which CSV readers cannot handle, becomes the replacement character.
    """
    cell = cell.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def _write_private(path: Path, data: bytes) -> None:
    try:
        with writing(path, mode=0o600) as stream:
            stream.write(data)
    except OSError as error:
        raise StageError(f"Could not write {path}: {error.strerror or error}.", "Name another file.") from error


def read_key(path: Path) -> dict[str, AuditKey]:
    """Return the keys by id. Raises InputError, which names the line or id of the first problem."""
    keys: dict[str, AuditKey] = {}
    for key in read_records(path, AuditKey):
        if key.id in keys:
            raise InputError(f"{path}: the id {key.id!r:.80} occurs twice.", "Draw the sample again.")
        keys[key.id] = key
    if not keys:
        raise InputError(f"{path} is empty.", "Draw the sample again.")
    _require_whole(path, keys)
    return keys


def _require_whole(path: Path, keys: dict[str, AuditKey]) -> None:
    rows: dict[str, list[AuditKey]] = {}
    for key in keys.values():
        rows.setdefault(key.stratum, []).append(key)
    for name, of in rows.items():
        if any((key.stratum_size, key.stratum_rows) != (of[0].stratum_size, len(of)) for key in of):
            raise InputError(
                f"{path}: the stratum {name!r:.80} is incomplete: it has {len(of)} of {of[0].stratum_rows} rows.",
                "Use the key as it was written.",
            )
    if len({key.part for key in keys.values()}) != 1:
        raise InputError(f"{path} contains verdicts on several parts.", "Score one sample at a time.")


class Labels(NamedTuple):
    """Labels by id, and the ids of the rows without one."""

    given: dict[str, Label]
    missing: list[str]


def read_labels(path: Path, known: Iterable[str]) -> Labels:
    """Return the labels in a file for people, CSV or JSON Lines; other columns are ignored.

    Args:
        path: The file.
        known: Ids of the sample.

    Raises:
        InputError: A row is wrong; names the file, line and id of the first one, never its text.
    """
    ids = set(known)
    given: dict[str, Label] = {}
    blank: set[str] = set()
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else read_json_rows(path)
    for line, row in rows:
        name = row.get("id")
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{path}, line {line}: the row has no id.", "Keep the column id as it was written.")
        name = name.strip()
        place = f"{path}, line {line} (id {name[:40]!r})"
        if name not in ids:
            raise InputError(f"{place}: this id is not in the sample.", "Give the sample that was labelled (--sample).")
        if name in given or name in blank:
            raise InputError(f"{place}: this id occurs twice.", "Keep one of the rows.")
        label = row.get("label")
        word = label.strip().casefold() if isinstance(label, str) else label
        if word in ("", None):
            blank.add(name)
            continue
        label_ = next((known_ for known_ in LABELS if known_ == word), None)
        if label_ is None:
            raise InputError(f"{place}: the label is not one of {', '.join(LABELS)}.", "Correct it, or leave it empty.")
        given[name] = label_
    return Labels(given, sorted(ids - set(given)))


def require_first_part(path: Path, labels: Labels, order: Iterable[str]) -> None:
    """Check that the labelled rows are those from the top of the file down to some row.

    Rows that a person skipped are not a random choice: the others cannot stand in for them.

    Args:
        path: The file, for the error.
        labels: What it contains.
        order: Ids in the order in which the sample was drawn; a spreadsheet may have sorted the file.

    Raises:
        InputError: A row without a label comes before one with a label.
    """
    gap = ""
    for name in order:
        if name not in labels.given:
            gap = gap or name
        elif gap:
            raise InputError(
                f"{path}: the row {gap!r} has no label, but rows after it have one.",
                "Label the rows that were skipped; unsure is a label.",
            )


def _csv_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return (line number, row) of a CSV file, whichever separator the spreadsheet program used."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text.", "Save it as CSV UTF-8.") from error
    head = text.split("\n", 1)[0]
    before = csv.field_size_limit(_FIELD)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
        names = [name.strip().casefold() for name in next(reader, [])]
        if not {"id", "label"} <= set(names):
            raise InputError(f"{path} has no columns 'id' and 'label'.", "Keep the first line as it was written.")
        if twice := next((name for name in ("id", "label") if names.count(name) > 1), None):
            raise InputError(f"{path}, line 1: the column {twice!r} occurs twice.", "Keep one of them.")
        found, line = [], reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((line, dict(zip(names, cells, strict=False))))
            line = reader.line_num + 1
        return found
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: this is not CSV.", "Save it as CSV UTF-8.") from error
    finally:
        csv.field_size_limit(before)
