"""judge: samples -> verdicts. The guard judges each configured part of a response separately.

A second guard, if there is one, then judges every n-th sample; its opinions are stored with the verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from thinksafe.config.sections import JudgeSection, SecondJudgeSection
from thinksafe.digests import digest_json, model_library_versions
from thinksafe.judging.guards import Guard, open_guard
from thinksafe.judging.guards.base import as_held
from thinksafe.judging.guards.second import is_chosen, release_memory
from thinksafe.records import GuardOpinion, Sample, Verdict, VerdictValue
from thinksafe.run.details import JudgeDetails
from thinksafe.run.formats import format_of
from thinksafe.run.manifests import (
    Chunk,
    Manifest,
    ensure_chunk,
    read_chunk,
    read_manifest,
    save_manifest,
    write_manifest,
)
from thinksafe.run.record import StageContext, StageResult, recorded
from thinksafe.store import Store
from thinksafe.traces import part_text


def run(context: StageContext, section: JudgeSection, samples: Path, *, verdicts_out: Path) -> StageResult:
    """Write the manifest of the verdicts for a manifest of samples, chunk by chunk.

    Both manifests are also stored, so that an audit finds the rows. Verdict chunks are keyed by the samples' digest,
    the guard and the parts; finished ones are reused. Those of the second guard have separate keys, so that adding one
    judges nothing again. The guards take turns: they are never in memory together.
    """
    with recorded(context, section) as result:
        manifest = read_manifest(samples)
        second = section.second
        with context.track("judging", manifest.rows * (1 if second is None else 2)) as advance:
            guard = open_guard(section.guard)
            result.details = details = JudgeDetails(guard=guard.name, guard_digest=guard.fingerprint)
            chunks, reused = _judged(context.store, section, guard, None, manifest, advance)
            del guard
            if second is not None:
                release_memory()
                other = open_guard(second.guard)
                result.details = details.model_copy(
                    update={"second_guard": other.name, "second_guard_digest": other.fingerprint}
                )
                opinions, _ = _judged(context.store, section, other, second, manifest, advance)
                chunks = [_joined(context.store, *pair) for pair in zip(chunks, opinions, strict=True)]
        verdicts = manifest.model_copy(update={"kind": "verdicts", "chunks": tuple(chunks)})
        for whole in (manifest, verdicts):
            save_manifest(context.store, whole)
        write_manifest(verdicts_out, verdicts)
        result.inputs = {"samples": manifest.digest}
        result.outputs = {"verdicts": verdicts.digest}
        result.counts = {
            "rows": verdicts.rows, "chunks": len(chunks), "chunks_reused": reused,
            **_counts(context.store, chunks, second is not None),
        }
    return result


def _judged(
    store: Store, section: JudgeSection, guard: Guard, second: SecondJudgeSection | None, manifest: Manifest,
    advance: Callable[[int], None],
) -> tuple[list[Chunk], int]:
    """Return the chunks of one guard's verdicts (on all samples or those for the second guard), and the reused ones."""
    left_out = {"chunk_size", "second"} if second is None else {"chunk_size", "second", "guard"}
    settings = section.guard if second is None else second.guard
    key: list[Any] = [
        guard.fingerprint, section.model_dump(mode="json", exclude=left_out), format_of("judge"),
        model_library_versions(vllm=settings.backend == "vllm") if settings.model else {},
    ]
    if second is not None:
        key.append([second.every_n, second.seed])
    chunks, reused = [], 0
    for source in manifest.chunks:
        rows = read_chunk(store, source, Sample)
        wanted = [
            row for row in rows
            if not (section.skip_problems and row.prompt.answer is not None)
            and (second is None or is_chosen(row.id, second.every_n, second.seed))
        ]
        chunk, old = ensure_chunk(
            store, digest_json([*key, source.digest]), source.index, partial(_verdicts, guard, section, wanted)
        )
        chunks.append(chunk)
        reused += old
        advance(len(rows))
    return chunks, reused


def _verdicts(guard: Guard, section: JudgeSection, rows: list[Sample]) -> list[Verdict]:
    asked = [(row, part) for row in rows for part in section.parts]
    reasoning = section.reasoning
    opinions = guard.judge(
        [(as_held(row, reasoning), part_text(row.response, part, reasoning)) for row, part in asked]
    )
    return [
        Verdict(
            sample_id=row.id, part=part, guard=guard.name, verdict=opinion.verdict, refusal=opinion.refusal,
            p_unsafe=opinion.p_unsafe, shortened=opinion.shortened, categories=opinion.categories,
            reason=opinion.reason,
        )
        for (row, part), opinion in zip(asked, opinions, strict=True)
    ]


def _joined(store: Store, first: Chunk, second: Chunk) -> Chunk:
    """Return the first guard's verdicts, with those of the second one added."""

    def make() -> list[Verdict]:
        found = {(row.sample_id, row.part): row for row in read_chunk(store, second, Verdict)}
        return [
            row.model_copy(update={"second": _opinion(found.get((row.sample_id, row.part)))})
            for row in read_chunk(store, first, Verdict)
        ]

    return ensure_chunk(store, digest_json([format_of("judge"), first.digest, second.digest]), first.index, make)[0]


def _opinion(row: Verdict | None) -> GuardOpinion | None:
    return None if row is None else GuardOpinion(**row.model_dump(include=set(GuardOpinion.model_fields)))


def _counts(store: Store, chunks: list[Chunk], twice: bool) -> dict[str, int | float]:
    """Count verdicts on whole responses; of those judged twice also by pair, as ``second_<first>_<second>``."""
    values: tuple[VerdictValue, ...] = get_args(VerdictValue)
    tally, pairs = Counter[str](), Counter[tuple[str, str]]()
    for chunk in chunks:
        for row in read_chunk(store, chunk, Verdict):
            if row.part == "whole":
                tally[row.verdict] += 1
                if row.second is not None:
                    pairs[row.verdict, row.second.verdict] += 1
    counts: dict[str, int | float] = {value: tally[value] for value in values}
    if twice:
        counts |= {f"second_{one}_{two}": pairs[one, two] for one in values for two in values}
    return counts
