"""The rows of the report's sample browser: a bounded, seeded choice among all samples that were judged or graded.

Verdicts and grades contain no text and are all read, one chunk in memory at a time. Then only those chunks of samples
are read that contain a chosen row: at most one for each row and model. So memory use does not grow with the run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from markupsafe import Markup, escape

from thinksafe.digests import digest_bytes
from thinksafe.errors import InputError, StoreError
from thinksafe.records import Grade, Part, Sample, Verdict
from thinksafe.run.manifests import Chunk, RowKind, read_chunk, saved_manifest
from thinksafe.run.record import StageRecord
from thinksafe.store import Store
from thinksafe.text import clean

ROWS = 500
"""Largest number of rows shown."""
ROLES = ("base", "candidate", "champion", "evaluated")
TEXT_BYTES = 1_200_000
"""Largest size of all prompts and responses on a page, in bytes of HTML."""
LENGTHS = (4000, 2000, 1000, 500, 250, 120, 60)
"""Possible limits on the characters of each text; the largest with which all texts fit is used."""



class Place(NamedTuple):
    """Where the rows of one chunk of samples are."""

    samples: Chunk
    verdicts: Chunk | None
    grades: Chunk | None


class Text(NamedTuple):
    """One text of a row: its name, its first characters (escaped later) and its full length."""

    name: str
    text: str
    characters: int


class SampleRow(NamedTuple):
    """One sample of every model."""

    id: str
    benchmark: str
    states: tuple[str, ...]
    """By model: ``safe``, ``unsafe`` or ``unknown``, with ``, refusal`` if the guard saw one; ``correct`` or ``wrong``;
    empty if there is neither verdict nor grade."""
    changed: str
    """``yes`` or ``no``: whether the candidate's state differs from the base's; empty unless both exist."""
    digest: str
    """SHA-256 of the response of the evaluated model, else of the candidate, the base or the champion."""
    texts: tuple[Text, ...]
    """Prompt and responses; empty unless harmful text is revealed."""


class Browser(NamedTuple):
    """What the sample browser shows."""

    roles: tuple[str, ...] = ()
    rows: tuple[SampleRow, ...] = ()
    total: int = 0
    """Samples that were judged or graded."""
    revealed: bool = False
    problem: str = ""
    """Why there are no rows, if that is due to an error."""


def browse(
    store: Store, records: Mapping[str, StageRecord], part: Part = "whole", *, reveal: bool = False,
    benchmarks: Sequence[str] = (), most: int = ROWS,
) -> Browser:
    """Return rows of a run's evaluation; if something cannot be read, return an empty browser with a ``problem``.

    Every benchmark and every combination of the models' states gets its share of the rows, so that rare ones are shown.
    Within a combination, a digest of the id decides.

    Args:
        store: Artifact store.
        records: Stage records by task.
        part: Part of the responses whose verdict is shown.
        reveal: Include prompts and responses, even harmful ones.
        benchmarks: Names of the benchmarks, for an even choice.
        most: Largest number of rows.
    """
    try:
        places = _places(store, records)
        roles = tuple(role for role in ROLES if role in places)
        if not roles:
            return Browser()
        lead = next(role for role in ("evaluated", "candidate", "base", "champion") if role in places)
        strata, total = _strata(store, places, roles, lead, part, benchmarks, most)
        chosen = _share_out(strata, most)
        rows = sorted(_rows(store, places, roles, lead, chosen, reveal=reveal), key=lambda row: (row.benchmark, row.id))
    except (InputError, StoreError) as error:
        return Browser(problem=error.problem)
    return Browser(roles, _fitted(rows), total, reveal)


def _places(store: Store, records: Mapping[str, StageRecord]) -> dict[str, dict[int, Place]]:
    found: dict[str, dict[RowKind, dict[int, Chunk]]] = {}
    stages: dict[str, RowKind] = {"judge": "verdicts", "grade": "grades"}
    for role, (stage, kind) in product(ROLES, stages.items()):
        record = records.get(f"{stage}-{role}")
        if record is None or not record.succeeded:
            continue
        digests: dict[RowKind, str] = {
            "samples": record.inputs.get("samples", ""), kind: record.outputs.get(kind, "")
        }
        for name, digest in digests.items():
            of = found.setdefault(role, {}).setdefault(name, {})
            of.update({chunk.index: chunk for chunk in _chunks(store, digest, kind)})
    return {
        role: {
            index: Place(chunk, kinds.get("verdicts", {}).get(index), kinds.get("grades", {}).get(index))
            for index, chunk in sorted(kinds.get("samples", {}).items())
        }
        for role, kinds in found.items()
        if kinds.get("samples")
    }


def _chunks(store: Store, digest: str, kind: RowKind) -> tuple[Chunk, ...]:
    try:
        return saved_manifest(store, digest).chunks if digest else ()
    except InputError:
        if kind == "grades":  # earlier versions stored no grades; the verdicts are still worth showing
            return ()
        raise


Stratum = tuple[str, tuple[str, ...]]
Ranked = tuple[int, int, str]
"""Rank by digest of the id, index of the chunk, id."""


def _strata(
    store: Store, places: Mapping[str, Mapping[int, Place]], roles: Sequence[str], lead: str, part: Part,
    benchmarks: Sequence[str], most: int,
) -> tuple[dict[Stratum, list[Ranked]], int]:
    """Return the first rows of every combination of benchmark and states by rank, and the number of all samples."""
    heaps: dict[Stratum, list[Ranked]] = {}
    total = 0
    named = sorted(benchmarks, key=len, reverse=True)
    for index in places[lead]:
        states = {role: _states(store, places[role].get(index), part) for role in roles}
        total += len(states[lead])
        for sample in states[lead]:
            # ids of known sets begin with the name of the set; for others, the choice is even over the states only
            hint = next((name for name in named if sample.startswith(name)), "")
            heap = heaps.setdefault((hint, tuple(states[role].get(sample, "") for role in roles)), [])
            entry = (-int(digest_bytes(sample.encode("utf-8", "replace"))[:15], 16), index, sample)
            if len(heap) < most:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
    return {stratum: sorted(heap, reverse=True) for stratum, heap in heaps.items()}, total


def _states(store: Store, place: Place | None, part: Part) -> dict[str, str]:
    found: dict[str, str] = {}
    if place is None:
        return found
    refusals = set()
    if place.verdicts is not None and place.verdicts.rows:
        for verdict in read_chunk(store, place.verdicts, Verdict):
            if verdict.part == part:
                found[verdict.sample_id] = verdict.verdict
            if verdict.part == "whole" and verdict.refusal:
                refusals.add(verdict.sample_id)
    if place.grades is not None and place.grades.rows:
        for grade in read_chunk(store, place.grades, Grade):
            found[grade.sample_id] = "correct" if grade.correct else "wrong"
    return {sample: f"{state}, refusal" if sample in refusals else state for sample, state in found.items()}


def _share_out(strata: Mapping[Stratum, list[Ranked]], most: int) -> dict[int, dict[str, Stratum]]:
    """Return the chosen ids by chunk: the same number from every stratum, and all of a smaller one."""
    chosen: dict[int, dict[str, Stratum]] = {}
    left = most
    ordered = sorted(strata.items(), key=lambda item: (len(item[1]), item[0]))
    for place, (stratum, ranked) in enumerate(ordered):
        taken = ranked[: left // (len(ordered) - place)]
        left -= len(taken)
        for _, index, sample in taken:
            chosen.setdefault(index, {})[sample] = stratum
    return chosen


def _rows(
    store: Store, places: Mapping[str, Mapping[int, Place]], roles: Sequence[str], lead: str,
    chosen: Mapping[int, Mapping[str, Stratum]], *, reveal: bool,
) -> Iterator[SampleRow]:
    for index in sorted(chosen):
        wanted = chosen[index]
        read = {
            role: {row.id: row for row in read_chunk(store, places[role][index].samples, Sample) if row.id in wanted}
            for role in (roles if reveal else (lead,))
            if index in places[role]
        }
        for sample in sorted(wanted):
            row = read[lead].get(sample)
            if row is None:
                raise InputError(f"A verdict is about {sample!r}, which is not among the samples.", "Run it again.")
            states = dict(zip(roles, wanted[sample][1], strict=True))
            both = states.get("base"), states.get("candidate")
            texts = [("Prompt", "\n\n".join(row.prompt.turns) or row.prompt.prompt)] if reveal else []
            texts += [(role.capitalize(), of[sample].response) for role, of in read.items() if reveal and sample in of]
            yield SampleRow(
                sample, row.prompt.source, tuple(states.values()),
                "" if not all(both) else "no" if both[0] == both[1] else "yes",
                digest_bytes(row.response.encode("utf-8", "replace")),
                tuple(Text(name, text[: LENGTHS[0]], len(text)) for name, text in texts),
            )


def _fitted(rows: Sequence[SampleRow]) -> tuple[SampleRow, ...]:
    """Return rows whose texts are escaped and cut to the largest length with which all of them fit the page."""
    for length in LENGTHS:
        fitted = tuple(
            row._replace(texts=tuple(text._replace(text=_cut(text, length)) for text in row.texts)) for row in rows
        )
        if sum(len(text.text.encode()) for row in fitted for text in row.texts) <= TEXT_BYTES:
            break
    return fitted


def _cut(of: Text, length: int) -> Markup:
    more = of.characters - length
    return escape(clean(of.text[:length], length) + (f"… ({more:,} more characters)" if more > 0 else ""))
