"""Load prompt sets: the micro world, files, data sets of the hub, known benchmarks."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import ValidationError

from thinksafe.benchmarks.options import LETTERS, MOST, letter_of, with_options
from thinksafe.benchmarks.variations import varied
from thinksafe.config.data import (
    Benchmark,
    FileField,
    FileSource,
    HubSource,
    KnownSource,
    MicroSource,
    PromptSet,
    label_of,
)
from thinksafe.digests import derived_seed, digest_bytes, digest_json
from thinksafe.errors import InputError
from thinksafe.prompts.known import answer_after, known_rows
from thinksafe.prompts.tables import Row, file_rows, hub_rows
from thinksafe.prompts.values import Filters, blank, is_text, matches, require_unicode, text_of, texts_of
from thinksafe.records import Label, Prompt


def load_set(prompts: PromptSet | Benchmark, label: Label, seed: int) -> list[Prompt]:
    """Return the labelled prompts of a set, with the set's name (without a benchmark's variation) as their source.

    With ``count``, this is a seeded choice of the rows, in id order.

    Raises:
        InputError: the source is missing, malformed, empty, or smaller than ``count``; an id repeats.
        StoreError: an ``s3://`` object cannot be read.
    """
    source = prompts.prompts
    name = prompts.base_name if isinstance(prompts, Benchmark) else prompts.name
    if isinstance(source, MicroSource):
        rows = _micro(name, source, label, seed)
    else:
        rows = _unique((where, _prompt(row, name, label, where)) for where, row in _rows(prompts, name, label, seed))
    if not rows:
        raise InputError(f"The prompt set {name!r} is empty.", "Check its source and the filters of the set.")
    if isinstance(source, KnownSource) and source.digest and source.digest != set_digest(rows):
        raise InputError(
            f"The prompts of {name!r} do not match prompts.digest (their digest is {set_digest(rows)}).",
            "Use the copy or the commit that the digest belongs to, or leave it out.",
        )
    if source.count is not None:
        if source.count > len(rows):
            raise InputError(
                f"The prompt set {name!r} has {len(rows)} prompts, but the config asks for {source.count}.",
                f"Lower its count to {len(rows)} or give more prompts.",
            )
        choice = random.Random(derived_seed(seed, "choice", name))
        rows = choice.sample(sorted(rows, key=lambda row: row.id), source.count)
    return sorted(rows, key=lambda row: row.id)


def load_benchmark(benchmark: Benchmark, seed: int) -> list[Prompt]:
    """Return the prompts of a benchmark in the form in which it asks them: transformed, with controlled thoughts.

    Raises:
        InputError: see :func:`load_set`; or a conversation would have to be transformed.
        StoreError: an ``s3://`` object cannot be read.
    """
    rows = load_set(benchmark, label_of(benchmark.metric), seed)
    named = [row.model_copy(update={"source": benchmark.name}) for row in rows]
    return varied(named, benchmark.transforms, benchmark.thinking)


def set_digest(rows: Iterable[Prompt]) -> str:
    """Return the digest of prompts, independent of their order."""
    return digest_json([row.model_dump(mode="json") for row in sorted(rows, key=lambda row: row.id)])


def _rows(prompts: PromptSet | Benchmark, name: str, label: Label, seed: int) -> Iterable[Row]:
    source = prompts.prompts
    if isinstance(source, KnownSource):
        assert isinstance(prompts, Benchmark)
        return known_rows(prompts.use, prompts.wording, source, seed)
    if isinstance(source, FileSource):
        return _file(name, source, label)
    assert isinstance(source, HubSource)
    return _hub(name, source)


def _micro(name: str, source: MicroSource, label: Label, seed: int) -> list[Prompt]:
    from thinksafe.micro.references import with_references
    from thinksafe.micro.world import prompts

    try:
        rows = prompts(source.split, source.kind, source.count, derived_seed(seed, "micro", name))
    except ValueError as error:
        raise InputError(f"The prompt set {name!r}: {error}.", "Lower its count.") from error
    if any(row.label != label for row in rows):
        raise InputError(
            f"The prompt set {name!r} is used as {label}, but the micro world's {source.kind!r} prompts are not.",
            "Choose another kind.",
        )
    if source.responses:
        rows = with_references(rows, derived_seed(seed, "micro responses", name))
    return [row.model_copy(update={"source": name}) for row in rows]


def _file(name: str, source: FileSource, label: Label) -> Iterator[Row]:
    named: dict[str, str] = {field: source.fields.get(field, field) for field in get_args(FileField)}
    # a column that the config names must exist; the default names are optional
    asked = set(source.fields.values())
    filters = Filters(source.only, source.exclude)
    for where, row in file_rows(source.path):
        if not filters.keep(row, where):
            continue
        for column in asked:
            if column not in row:
                raise InputError(f"{where}: there is no field {column!r}.", "Correct the field's name in the config.")
        given = row.get("label")
        if given not in (None, "") and given != label:
            shown = repr(given) if re.fullmatch(r"\w{1,20}", str(given)) else "with a longer text"
            raise InputError(
                f"{where}: the row is labelled {shown}, but the set {name!r} is used as {label}.",
                f"Filter the set with only: {{label: {label}}}.",
            )
        fields = {field: row.get(column) for field, column in named.items()} | {"suffix": source.suffix}
        if "response" not in source.fields:
            fields["response"] = None  # a benchmark's file may have such a column by chance
        for field in ("options", "turns"):
            fields[field] = texts_of(fields[field], named[field], where)
        if fields["options"] and fields["answer"] is not None:
            fields["answer"] = letter_of(_among(fields["answer"], fields["options"]), fields["options"])
            if fields["answer"] is None:
                raise InputError(
                    f"{where}: the answer is neither the letter nor the text of one option.", "Correct the row."
                )
        yield where, fields
    filters.require_used(name)


def _among(answer: Any, options: list[str]) -> str:
    """Return the text of the option that a number or truth value equals, or else its own text."""
    equal = [] if isinstance(answer, str) else [option for option in options if matches(answer, option.strip())]
    return equal[0] if len(equal) == 1 else text_of(answer)


def _hub(name: str, source: HubSource) -> Iterator[Row]:
    columns = {"prompt": "prompt"} | {str(field): column for field, column in source.fields.items()}
    filters = Filters(source.only, contains=source.contains)
    for number, (where, row) in enumerate(hub_rows(source.repo, source.revision, source.subset, source.split)):
        for field in (*columns.values(), *source.only, *source.contains):
            if field not in row:
                raise InputError(
                    f"The data set {source.repo!r} has no field {field!r}.", f"Its fields are: {', '.join(row)}."
                )
        if not filters.keep(row, where):
            continue
        text = row[columns["prompt"]]
        fields = {
            "id": f"{name}-{number:06d}-{digest_bytes(str(text).encode('utf-8', 'replace'))[:8]}",
            "prompt": text, "suffix": source.suffix,
            "category": row[columns["category"]] if "category" in columns else "",
            "response": row[columns["response"]] if "response" in columns else None,
        }
        if "answer" in columns:
            field = columns["answer"]
            fields["answer"] = answer_after(row[field], field, source.answer_after, where)
        yield where, fields
    filters.require_used(name)


def _prompt(row: dict[str, Any], name: str, label: Label, where: str) -> Prompt:
    """Return the prompt in a row's fields."""
    require_unicode(row, where)
    turns = row.get("turns") or []
    text = row.get("prompt")
    if text is None and turns:
        text = turns[-1]
    if not isinstance(text, str) or blank(text):
        raise InputError(f"{where}: there is no text in the field 'prompt'.", "Every row needs one.")
    key = row.get("id")
    if not isinstance(key, str) or not key or "/" in key or len(key) > 200 or not key.isprintable():
        raise InputError(
            f"{where}: the field 'id' must be a printable string of 1 to 200 characters without '/'.",
            "Correct the row.",
        )
    context, answer, category = (row.get(field) for field in ("context", "answer", "category"))
    if any(value is not None and not is_text(value) for value in (context, answer, category)):
        raise InputError(f"{where}: context, answer and category must be texts or numbers.", "Correct the row.")
    context, answer, category = (text_of(value) for value in (context, answer, category))
    response = row.get("response")
    if response is not None and (not isinstance(response, str) or blank(response)):
        raise InputError(f"{where}: there is no text in the response.", "Every row of the set needs one.")
    options = row.get("options") or []
    if options and not 2 <= len(options) <= MOST:
        raise InputError(f"{where}: there must be 2 to {MOST} options.", f"Their letters are A to {LETTERS[-1]}.")
    if options:
        text = with_options(text, options)
    try:
        return Prompt(
            id=key,
            # the form in which HarmBench sends a contextual behaviour
            prompt="".join(
                (row.get("prefix", ""), "" if blank(context) else f"{context}\n\n---\n\n", text, row.get("suffix", ""))
            ),
            label=label,
            source=name,
            category=category,
            answer=None if blank(answer) else answer,
            options=len(options),
            instructions=tuple(row.get("instructions") or ()),
            turns=tuple(turns),
            trajectory=bool(row.get("trajectory")),
            response=response or "",
        )
    except (ValidationError, TypeError) as error:
        raise InputError(f"{where}: a field has the wrong type.", "Correct the row.") from error


def _unique(rows: Iterable[tuple[str, Prompt]]) -> list[Prompt]:
    seen: dict[str, str] = {}
    found = []
    for where, row in rows:
        if row.id in seen:
            raise InputError(f"{where}: the id {row.id!r} repeats {seen[row.id]}.", "Give every row a unique id.")
        seen[row.id] = where
        found.append(row)
    return found
