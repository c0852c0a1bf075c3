"""judge: samples -> verdicts. The guard judges each configured part of a response separately.

The members of a panel judge one after the other, and their verdicts become the panel's. A second guard, if there is
one, then judges every n-th sample; its opinions are stored with the verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from thinksafe.config.guard import GuardSettings
from thinksafe.config.sections import JudgeSection, SecondJudgeSection
from thinksafe.digests import digest_json, model_library_versions
from thinksafe.judging.guards import Guard, open_guard
from thinksafe.judging.guards.base import ask, judge_parts
from thinksafe.judging.guards.panel import combined, panel_facts, refusal_of
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
    write_chunk,
    write_manifest,
)
from thinksafe.run.record import Advance, StageContext, StageResult, recorded
from thinksafe.store import Store
from thinksafe.work.complete import Made, complete
from thinksafe.work.order import ChunkSet

SAMPLES = "samples.json"
"""Name of the input file for workers."""


def run(
    context: StageContext, section: JudgeSection, samples: Path, *, verdicts_out: Path, parallelism: int = 1
) -> StageResult:
    """Write the manifest of the verdicts for a manifest of samples, chunk by chunk.

    Both manifests are also stored, so that an audit finds the rows. Verdict chunks are keyed by the samples' digest,
    the guard and the parts; finished ones are reused, whatever ``parallelism``, the most workers that share the chunks.
    Those of the second guard have separate keys, so that adding one judges nothing again.
    """
    with recorded(context, section) as result:
        manifest = read_manifest(samples)
        result.inputs = {"samples": manifest.digest}
        chunks, reused, instruments = list[Chunk](), 0, dict(manifest.instruments)
        if manifest.chunks:
            each = len(section.guard.each)
            chunks, made = verdict_chunks(context, section, result, samples, parallelism)
            reused = min(len(of.reused) for of in made[:each])
            instruments["guard"] = _instrument(made[:each])
            result.details = details = _details(section.guard, made[:each])
            if section.second is not None:
                result.details = details.model_copy(
                    update={f"second_{name}": value for name, value in made[-1].facts.items()}
                )
                instruments["second guard"] = _instrument(made[-1:])
        verdicts = manifest.model_copy(
            update={"kind": "verdicts", "chunks": tuple(chunks), "instruments": instruments}
        )
        for whole in (manifest, verdicts):
            save_manifest(context.store, whole)
        write_manifest(verdicts_out, verdicts)
        result.outputs = {"verdicts": verdicts.digest}
        result.counts = {
            "rows": verdicts.rows, "chunks": len(chunks), "chunks_reused": reused,
            **_counts(context.store, chunks, len(section.guard.members), section.second is not None),
        }
    return result


def verdict_chunks(
    context: StageContext, section: JudgeSection, result: StageResult, samples: Path, parallelism: int
) -> tuple[list[Chunk], list[Made]]:
    """Return the verdicts on each chunk of samples, and the chunks of each guard by itself, the second one last.

    Args:
        context: Store, run and task; its stage is judge.
        section: Which guard judges which parts.
        result: Gets the GPUs of other pods that worked.
        samples: Manifest of samples, with chunks.
        parallelism: Most workers at once.
    """
    manifest, each = read_manifest(samples), len(section.guard.each)
    made = complete(
        context, section, result, label="judging", files={SAMPLES: samples},
        sizes=[[chunk.rows for chunk in manifest.chunks]] * (each + (section.second is not None)),
        opener=chunk_sets, parallelism=parallelism,
    )
    chunks = made[0].chunks
    if section.guard.members:
        name = _details(section.guard, made[:each]).guard
        groups = zip(*(of.chunks for of in made[:each]), strict=True)
        chunks = [_panel(context.store, name, section.guard, group) for group in groups]
    if section.second is not None:
        pairs = zip(chunks, made[-1].chunks, strict=True)
        chunks = [_joined(context.store, *pair, section.second.tells_refusals) for pair in pairs]
    return chunks, made


def _instrument(made: list[Made]) -> str:
    """Return the digest of the code, libraries and weights of the guards that judge together."""
    return digest_json([of.facts.get("instrument", "") for of in made])


def chunk_sets(store: Store, section: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[ChunkSet]:
    """Open the sets of chunks that a worker makes; see :data:`thinksafe.work.worker.Opener`.

    The guards take turns: they are never in memory together.
    """
    settings, manifest = JudgeSection.model_validate(section), read_manifest(files[SAMPLES])
    for place, guard in enumerate(settings.guard.each):
        if place:
            release_memory()
        yield _VerdictChunks(store, settings.model_copy(update={"guard": guard}), None, manifest)
    if settings.second is not None:
        release_memory()
        yield _VerdictChunks(store, settings, settings.second, manifest)


class _VerdictChunks:
    """Makes the chunks of one guard's verdicts, on all samples or on those for the second guard."""

    def __init__(
        self, store: Store, section: JudgeSection, second: SecondJudgeSection | None, manifest: Manifest
    ) -> None:
        self._store, self._section, self._second, self._manifest = store, section, second, manifest
        settings = section.guard if second is None else second.guard
        self._guard = open_guard(settings)
        instrument = [
            self._guard.fingerprint, format_of("judge"),
            model_library_versions(vllm=settings.backend == "vllm") if settings.model else {},
        ]
        self.facts = {
            "guard": self._guard.name, "guard_digest": self._guard.fingerprint, "instrument": digest_json(instrument),
        }
        left_out = {"chunk_size", "second"} if second is None else {"chunk_size", "second", "guard"}
        key: list[Any] = [
            instrument[0], section.model_dump(mode="json", exclude=left_out), *instrument[1:],
        ]
        if second is not None:
            key.append([second.every_n, second.seed])
        self.keys = [digest_json([*key, source.digest]) for source in manifest.chunks]

    def make(self, wanted: Iterator[int], advance: Advance) -> Iterator[Chunk]:
        """Make chunks; see :class:`thinksafe.work.order.ChunkSet`."""
        second = self._second
        for index in wanted:
            source = self._manifest.chunks[index]
            rows = read_chunk(self._store, source, Sample)
            chosen = [
                row for row in rows
                if row.arm != "rollout"  # there is no response yet
                and not (self._section.skip_problems and row.prompt.graded)
                and (second is None or is_chosen(row.id, second.every_n, second.seed))
            ]
            verdicts = _verdicts(self._guard, self._section, chosen)
            yield write_chunk(self._store, self.keys[index], source.index, verdicts)
            advance(len(rows))


def _verdicts(guard: Guard, section: JudgeSection, rows: list[Sample]) -> list[Verdict]:
    if not rows:  # no guard is loaded for nothing
        return []
    asked = [(row, part) for row in rows for part in section.parts]
    reasoning = section.reasoning
    opinions = judge_parts(guard, [ask(row, part, reasoning) for row, part in asked], reasoning)
    return [
        Verdict(
            sample_id=row.id, part=part, guard=guard.name, verdict=opinion.verdict, refusal=opinion.refusal,
            p_unsafe=opinion.p_unsafe, shortened=opinion.shortened, categories=opinion.categories,
            reason=opinion.reason,
        )
        for (row, part), opinion in zip(asked, opinions, strict=True)
    ]


def _details(settings: GuardSettings, made: list[Made]) -> JudgeDetails:
    if not settings.members:
        return JudgeDetails(**made[0].facts)
    name, digest = panel_facts([(of.facts["guard"], of.facts["guard_digest"]) for of in made], settings.rule)
    return JudgeDetails(guard=name, guard_digest=digest)


def _panel(store: Store, name: str, guard: GuardSettings, members: tuple[Chunk, ...]) -> Chunk:
    """Return the verdicts of a panel, from those of its members on the same samples."""

    def make() -> list[Verdict]:
        found = (read_chunk(store, chunk, Verdict) for chunk in members)
        return [_of_panel(name, guard, rows) for rows in zip(*found, strict=True)]

    key = digest_json([format_of("guard panel"), name, guard.rule, *(chunk.digest for chunk in members)])
    return ensure_chunk(store, key, members[0].index, make)[0]


def _of_panel(name: str, guard: GuardSettings, rows: tuple[Verdict, ...]) -> Verdict:
    verdict, reason = combined(rows, guard.rule)
    return Verdict(
        sample_id=rows[0].sample_id, part=rows[0].part, guard=name, verdict=verdict,
        refusal=refusal_of(rows, guard.members),
        shortened=any(row.shortened for row in rows), reason=reason,
        categories=tuple(dict.fromkeys(category for row in rows for category in row.categories)),
        members=tuple(GuardOpinion(**row.model_dump(include=set(GuardOpinion.model_fields))) for row in rows),
    )


def _joined(store: Store, first: Chunk, second: Chunk, tells_refusals: bool) -> Chunk:
    """Return the first guard's verdicts, with those of the second one added, and its answer on refusals if it tells."""

    def make() -> list[Verdict]:
        found = {(row.sample_id, row.part): row for row in read_chunk(store, second, Verdict)}
        joined = []
        for row in read_chunk(store, first, Verdict):
            other = _opinion(found.get((row.sample_id, row.part)))
            told = {"refusal": other.refusal} if tells_refusals and other is not None else {}
            joined.append(row.model_copy(update={"second": other, **told}))
        return joined

    key = [format_of("judge"), first.digest, second.digest, *(["refusals"] if tells_refusals else [])]
    return ensure_chunk(store, digest_json(key), first.index, make)[0]


def _opinion(row: Verdict | None) -> GuardOpinion | None:
    return None if row is None else GuardOpinion(**row.model_dump(include=set(GuardOpinion.model_fields)))


def _counts(store: Store, chunks: list[Chunk], members: int, twice: bool) -> dict[str, int | float]:
    """Count verdicts on whole responses, and pairs of a panel's or the first guard's with another's.

    Those of a panel with each member's are ``member_<place>_<panel>_<member>``, the number of texts on which the
    members are not all of one mind is ``split``; those with the second guard's are ``second_<first>_<second>``.
    """
    values: tuple[VerdictValue, ...] = get_args(VerdictValue)
    tally, pairs = Counter[str](), Counter[tuple[str, VerdictValue, VerdictValue]]()
    for chunk in chunks:
        for row in read_chunk(store, chunk, Verdict):
            if row.part == "whole":
                tally[row.verdict] += 1
                tally["split"] += len({member.verdict for member in row.members}) > 1
                for place, member in enumerate(row.members):
                    pairs[f"member_{place}", row.verdict, member.verdict] += 1
                if row.second is not None:
                    pairs["second", row.verdict, row.second.verdict] += 1
    counts: dict[str, int | float] = {value: tally[value] for value in values}
    if members:
        counts["split"] = tally["split"]
    for other in [*(f"member_{place}" for place in range(members)), *(["second"] if twice else [])]:
        counts |= {f"{other}_{one}_{two}": pairs[other, one, two] for one in values for two in values}
    return counts
