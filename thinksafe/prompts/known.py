"""Load a known benchmark: find the layout of the table, filter it, and count the rest."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from thinksafe.benchmarks.definitions import Definition, Layout, definition
from thinksafe.benchmarks.options import shuffled
from thinksafe.config.data import KnownSource
from thinksafe.digests import derived_seed, digest_bytes, digest_file
from thinksafe.errors import InputError
from thinksafe.prompts.tables import Row, file_rows, hub_rows
from thinksafe.prompts.values import blank, matches, text_of, texts_of


def known_rows(use: str, wording: str, source: KnownSource, seed: int) -> list[Row]:
    """Return the rows of a known benchmark, in the fields of a prompt file (``id``, ``prompt``, ``answer`` ...).

    An id is the row's place in the table and a digest of its text. The order of options depends on ``seed`` and the
    row's text, and ``answer`` is then the letter of the right one.

    Raises:
        InputError: the set is not available (the error says which token or file is needed), has other columns, or has
            the wrong number of prompts.
        StoreError: an ``s3://`` copy cannot be read.
    """
    known = definition(use).worded(wording)
    table = _table(use, known, source)
    columns = {column for _, row in table for column in row}
    layout = known.layout(columns)
    if layout is None:
        forms = " or ".join(", ".join(sorted(form.columns)) for form in known.layouts)
        raise InputError(
            f"{_origin(use, known, source)} does not have the columns of the benchmark {use!r}.",
            f"It needs {forms}.",
        )
    rows = [
        _row(use, number, where, row, layout, known, seed)
        for number, (where, row) in enumerate(table)
        if all(matches(row.get(column), value) for column, value in layout.only.items())
    ]
    expected = source.rows or known.rows
    if len(rows) != expected:
        raise InputError(
            f"The benchmark {use!r} has {len(rows):,} prompts in {_origin(use, known, source)} but should have "
            f"{expected:,}.",
            f"Use the whole set, or set prompts: {{rows: {len(rows)}}} to use only this part.",
        )
    return rows


def _table(use: str, known: Definition, source: KnownSource) -> list[Row]:
    if source.path:
        return list(file_rows(source.path))
    if known.file:
        if digest_file(known.shipped()) != known.digest:
            raise InputError(f"The shipped file of the benchmark {use!r} was changed.", "Install thinksafe again.")
        # the path differs between machines, so errors name the set
        return [(f"{use}, {where.rpartition(', ')[2]}", row) for where, row in file_rows(str(known.shipped()))]
    copy = f"or give a copy, prompts: {{path: FILE}} with the columns {', '.join(sorted(known.layouts[-1].columns))}"
    try:
        return list(
            hub_rows(
                known.repo, source.revision, known.subset, known.split, file=known.data_file, gated=known.gated,
                action=copy,
            )
        )
    except InputError as error:
        raise InputError(f"The benchmark {use!r} is not available. {error.problem}", error.action) from error


def _origin(use: str, known: Definition, source: KnownSource) -> str:
    return source.path or (f"{known.repo} at {source.revision}" if known.repo else f"the shipped set of {use}")


def _row(use: str, number: int, where: str, row: dict[str, Any], layout: Layout, known: Definition, seed: int) -> Row:
    turns = _said(row, layout, where) if layout.messages else None
    text = turns[-1] if turns else _only_text(row.get(layout.prompt))
    fields: dict[str, Any] = {
        "id": f"{use}-{number:06d}-{digest_bytes(str(text).encode('utf-8', 'replace'))[:8]}",
        "prompt": text,
        "prefix": known.prefix, "suffix": known.suffix,
        "context": row.get(layout.context) if layout.context else None,
        "category": row.get(layout.category) if layout.category else None,
        "turns": texts_of(row.get(layout.turns), layout.turns, where) if layout.turns else turns,
        "trajectory": known.trajectory,
    }
    if known.turns:
        tools = texts_of(row.get(layout.tools), layout.tools, where) if layout.tools else None
        listed = ", ".join(sorted(set(tools or ())))  # in another order than the task needs them
        fields["turns"] = [_put(turn.replace("{tools}", listed), str(text)) for turn in known.turns]
    if layout.answer:
        fields["answer"] = answer_after(row.get(layout.answer), layout.answer, layout.answer_after, where)
    if layout.instructions:
        fields["instructions"] = _instructions(row, layout, where)
    if layout.correct:
        texts = [row.get(column) for column in (layout.correct, *layout.incorrect)]
        if not all(isinstance(item, str) and not blank(item) for item in texts):
            raise InputError(f"{where}: an option is empty.", "Correct the row.")
        options = [str(item) for item in texts]
        order = derived_seed(seed, "options", digest_bytes(str(text).encode("utf-8", "replace")))
        fields["options"], fields["answer"] = shuffled(options[0], options[1:], order)
    return where, fields


def _only_text(value: Any) -> Any:
    """Return the text of a list of one, which is JSON in a CSV field; anything else as it is."""
    if isinstance(value, str) and value.startswith('["'):
        with suppress(ValueError):
            value = json.loads(value)
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _put(turn: str, request: str) -> str:
    before, place, after = turn.partition("{prompt}")
    return before + request + after if place else turn


def _said(row: dict[str, Any], layout: Layout, where: str) -> list[str]:
    """Return the user's messages of a conversation. Raises InputError for a message that is none, or of a model."""
    numbers = sorted(
        int(column.removeprefix(layout.messages)) for column in row
        if column.startswith(layout.messages) and column.removeprefix(layout.messages).isdecimal()
    )
    said = []
    for column in (f"{layout.messages}{number}" for number in numbers):
        cell = row[column]
        if cell is None or cell == "":
            continue
        try:
            message = json.loads(cell) if isinstance(cell, str) else cell
            role, body = message["role"], message["body"]
        except (ValueError, KeyError, TypeError, RecursionError):
            role, body = "", ""
        if role not in ("user", "system") or not isinstance(body, str):
            raise InputError(
                f"{where}: {column!r} is not JSON with the role user or system, and a body.", "Correct the row."
            )
        if role == "user" and not blank(body):
            said.append(body)
    if not said:
        raise InputError(f"{where}: the conversation has no message of a user.", "Correct the row.")
    return said


def _instructions(row: dict[str, Any], layout: Layout, where: str) -> list[dict[str, Any]]:
    """Return kinds and options of verifiable instructions; columns of a CSV file hold them as JSON."""
    kinds = texts_of(row.get(layout.instructions), layout.instructions, where) or []
    options = row.get(layout.instruction_options)
    if isinstance(options, str):
        try:
            options = json.loads(options)
        except (ValueError, RecursionError):
            options = None
    listed = options if isinstance(options, list) else []
    if not kinds or len(listed) != len(kinds) or not all(isinstance(one, dict) for one in listed):
        raise InputError(
            f"{where}: the field {layout.instruction_options!r} must be a list of one object for each of "
            f"{layout.instructions!r}.", "Correct the row.",
        )
    return [
        {"kind": kind, "options": {name: value for name, value in of.items() if value is not None}}
        for kind, of in zip(kinds, listed, strict=True)
    ]


def answer_after(answer: Any, field: str, mark: str, where: str) -> Any:
    """Return the text after the last occurrence of ``mark`` in an answer; all of it without a mark.

    Raises:
        InputError: the mark is missing, or nothing follows it.
    """
    if not mark:
        return answer
    _, found, after = text_of(answer).rpartition(mark)
    if not found or blank(after):
        raise InputError(
            f"{where}: the field {field!r} has no answer after {mark!r}.", "Correct the set's answer_after."
        )
    return after.strip()
