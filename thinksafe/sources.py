"""Load prompt sets: the micro world, JSON Lines files, data sets of the hub."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from thinksafe.config.data import HubSource, JsonlSource, MicroSource, PromptSet
from thinksafe.digests import derived_seed, digest_bytes
from thinksafe.errors import InputError
from thinksafe.jsonl import read_json_rows
from thinksafe.records import Label, Prompt
from thinksafe.store.remote import local_file


def load_set(prompts: PromptSet, label: Label, seed: int) -> list[Prompt]:
    """Return the prompts of a set, labelled, with the set's name as their source.

    A ``count`` takes a seeded choice of the rows, in id order.

    Raises:
        InputError: the source is missing, malformed, empty, or smaller than ``count``; an id repeats.
    """
    source = prompts.prompts
    if isinstance(source, MicroSource):
        rows = _micro(prompts.name, source, label, seed)
    elif isinstance(source, JsonlSource):
        rows = _unique(_jsonl(prompts.name, source, label))
    else:
        rows = _unique(_hub(prompts.name, source, label))
    if not rows:
        raise InputError(
            f"The prompt set {prompts.name!r} is empty.", "Check its source and the filters of the set."
        )
    if source.count is not None:
        if source.count > len(rows):
            raise InputError(
                f"The prompt set {prompts.name!r} has {len(rows)} prompts, and the config asks for {source.count}.",
                f"Lower its count to {len(rows)} or give more prompts.",
            )
        choice = random.Random(derived_seed(seed, "choice", prompts.name))
        rows = choice.sample(sorted(rows, key=lambda row: row.id), source.count)
    return sorted(rows, key=lambda row: row.id)


def _micro(name: str, source: MicroSource, label: Label, seed: int) -> list[Prompt]:
    from thinksafe.micro.world import prompts

    try:
        rows = prompts(source.split, source.kind, source.count, derived_seed(seed, "micro", name))
    except ValueError as error:
        raise InputError(f"The prompt set {name!r}: {error}.", "Lower its count.") from error
    if any(row.label != label for row in rows):
        raise InputError(
            f"The prompt set {name!r} is used as {label}, and the micro world's {source.kind!r} prompts are not.",
            "Choose another kind.",
        )
    return [row.model_copy(update={"source": name}) for row in rows]


def _jsonl(name: str, source: JsonlSource, label: Label) -> Iterator[tuple[str, Prompt]]:
    with local_file(source.path) as path:
        for number, row in read_json_rows(path, source.path):
            where = f"{source.path}, line {number}"
            if not _kept(row, source, where):
                continue
            given = row.get("label")
            if given is not None and given != label:
                shown = repr(given) if re.fullmatch(r"\w{1,20}", str(given)) else "with a longer text"
                raise InputError(
                    f"{where}: the row is labelled {shown}, and the set {name!r} is used as {label}.",
                    f"Filter the set with only: {{label: {label}}}.",
                )
            yield where, _prompt(row, name, label, where)


def _kept(row: dict[str, Any], source: JsonlSource, where: str) -> bool:
    for field in (*source.only, *source.exclude):
        if field not in row:
            raise InputError(f"{where}: there is no field {field!r} to filter by.", "Correct the filter.")
    return all(str(row[field]) == value for field, value in source.only.items()) and not any(
        str(row[field]) == value for field, value in source.exclude.items()
    )


def _prompt(row: dict[str, Any], name: str, label: Label, where: str) -> Prompt:
    text = row.get("prompt")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}: no text in the field 'prompt'.", "Every row needs one.")
    key = row.get("id")
    if not isinstance(key, str) or not key or "/" in key or len(key) > 200 or not key.isprintable():
        raise InputError(
            f"{where}: the field 'id' must be a printable string of 1 to 200 characters without '/'.",
            "Correct the row.",
        )
    context, answer, category = (row.get(field) for field in ("context", "answer", "category"))
    if any(isinstance(value, dict | list | bool) for value in (context, answer, category)):
        raise InputError(f"{where}: context, answer and category must be texts or numbers.", "Correct the row.")
    try:
        return Prompt(
            id=key,
            # the form in which HarmBench sends a contextual behaviour
            prompt=f"{context}\n\n---\n\n{text}" if context else text,
            label=label,
            source=name,
            category=str(category or ""),
            answer=None if answer is None else str(answer),
        )
    except (ValidationError, TypeError) as error:
        raise InputError(f"{where}: a field has the wrong type.", "Correct the row.") from error


def _hub(name: str, source: HubSource, label: Label) -> Iterator[tuple[str, Prompt]]:
    import datasets

    try:
        table = datasets.load_dataset(
            source.repo, source.subset or None, split=source.split, revision=source.revision or None
        )
    except Exception as error:  # datasets raises many unrelated types for missing, gated and unreachable sets
        raise InputError(
            f"Cannot load the data set {source.repo!r} ({type(error).__name__}).",
            "Check the name, revision and network; a gated set needs HF_TOKEN; or mirror it and use a jsonl source.",
        ) from error
    for field in (source.prompt_field, source.answer_field, source.category_field, *source.only, *source.contains):
        if field and field not in table.column_names:
            raise InputError(
                f"The data set {source.repo!r} has no field {field!r}.",
                f"Its fields are: {', '.join(table.column_names)}.",
            )
    for number, row in enumerate(table):
        if any(str(row[field]) != value for field, value in source.only.items()):
            continue
        if any(value not in str(row[field]) for field, value in source.contains.items()):
            continue
        where = f"{source.repo}, row {number}"
        text = row[source.prompt_field]
        yield where, _prompt(
            {
                "id": f"{name}-{number:06d}-{digest_bytes(str(text).encode())[:8]}",
                "prompt": text + source.suffix if isinstance(text, str) and text.strip() else text,
                "category": row[source.category_field] if source.category_field else "",
                "answer": _hub_answer(row[source.answer_field], source, where) if source.answer_field else None,
            },
            name, label, where,
        )


def _hub_answer(answer: Any, source: HubSource, where: str) -> Any:
    if not source.answer_after:
        return answer
    _, mark, after = str(answer).rpartition(source.answer_after)
    if not mark or not after.strip():
        raise InputError(
            f"{where}: the field {source.answer_field!r} holds no answer after {source.answer_after!r}.",
            "Correct the set's answer_after.",
        )
    return after.strip()


def _unique(rows: Iterator[tuple[str, Prompt]]) -> list[Prompt]:
    seen: dict[str, str] = {}
    found = []
    for where, row in rows:
        if row.id in seen:
            raise InputError(f"{where}: the id {row.id!r} repeats {seen[row.id]}.", "Give every row its own id.")
        seen[row.id] = where
        found.append(row)
    return found
