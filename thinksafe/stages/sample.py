"""sample: prompts -> samples, in the arms that the section gives each label."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from thinksafe.config.sections import SampleSection
from thinksafe.digests import derived_seed, digest_bytes, digest_file, digest_json, model_library_versions
from thinksafe.errors import InputError
from thinksafe.jsonl import dump_lines, read_records
from thinksafe.methods.steering import steer, steering_template
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.records import Arm, Prompt, Sample, SamplingSettings
from thinksafe.run.formats import format_of
from thinksafe.run.manifests import (
    Chunk,
    Manifest,
    find_chunk,
    has_chunk,
    read_chunk,
    write_chunk,
    write_manifest,
)
from thinksafe.run.record import Advance, StageContext, StageResult, recorded
from thinksafe.sampling.claims import Claims
from thinksafe.sampling.conversations import Exchange, Script, converse, last_turn
from thinksafe.sampling.engines import Batch, Engine, open_engine, stream

POLL_SECONDS = 2.0
"""Seconds between two checks for a chunk that another shard makes."""

Row = tuple[Prompt, Arm, int]


def run(
    context: StageContext, section: SampleSection, model: Path, prompts: Path, shard: int, shards: int,
    *, samples_out: Path,
) -> StageResult:
    """Write the manifest of one shard's samples.

    Prompts in id order are cut into chunks of ``section.chunk_size``; shard i has the chunks whose index is i modulo
    ``shards``, so the samples do not depend on the number of shards. A chunk is keyed by everything that determines it,
    and one that is already in the store is reused. A shard that has finished its own chunks makes those that others
    have not started (:mod:`thinksafe.sampling.claims`); its manifest still lists only its own.

    Raises:
        InputError: the prompts or the model are missing, malformed or empty.
    """
    with recorded(context, section) as result:
        reference = _writer(read_reference(model), section)
        result.inputs = {"model": reference.digest, "prompts": digest_file(prompts)}
        if reference.absent:
            write_manifest(samples_out, Manifest(kind="samples", absent=True, total=0, model=reference.digest))
            result.counts = {"rows": 0}
            return result
        rows = sorted(read_records(prompts, Prompt), key=lambda prompt: prompt.id)
        if not rows:
            raise InputError(f"{prompts} contains no prompts.", "Check the prepare stage.")
        if section.prompts:
            rows = _chosen(rows, section)
        parts = [rows[start : start + section.chunk_size] for start in range(0, len(rows), section.chunk_size)]
        maker = _ChunkMaker(context, section, reference, parts)
        claims = Claims(context.store, digest_json([context.run_id, maker.keys]), len(parts), shard, shards)
        with context.track("sampling", sum(len(maker.rows(index)) for index in claims.own)) as advance, claims.alive():
            chunks = _own_chunks(maker, claims, advance)
        manifest = Manifest(
            kind="samples", total=len(parts), model=reference.digest, chunks=tuple(chunks)
        )
        write_manifest(samples_out, manifest)
        result.outputs = {"samples": manifest.digest}
        result.counts = {"rows": manifest.rows, "chunks": len(chunks), **maker.counts}
    return result


def _writer(given: ModelReference, section: SampleSection) -> ModelReference:
    """Return the model to sample: the one that the stage is given, or the section's teacher."""
    teacher = section.teacher
    if teacher is None:
        return given
    return ModelReference(role=given.role, student=teacher.student, base_digest=teacher.digest)


def _chosen(rows: list[Prompt], section: SampleSection) -> list[Prompt]:
    """Return the section's choice of prompts, in id order, among those that any chat server can answer unchanged."""
    single = [row for row in rows if not row.turns and not row.opening]
    choice = random.Random(derived_seed(section.seed, "prompts"))
    chosen = choice.sample(single, min(section.prompts, len(single)))
    if not chosen:
        raise InputError("There is no single-turn prompt to choose from.", "Add a benchmark that has some.")
    return sorted(chosen, key=lambda row: row.id)


def _own_chunks(maker: _ChunkMaker, claims: Claims, advance: Advance) -> list[Chunk]:
    """Make chunks until all of this shard's exist, and return them in order."""
    chunks: dict[int, Chunk] = {}

    def look(index: int, *, reused: bool) -> bool:
        if found := maker.find(index, reused=reused):
            chunks[index] = found
            advance(found.rows, reused=reused)
        return found is not None

    for index in claims.own:
        look(index, reused=True)
    chunks |= maker.make(claims.take(lambda index: index in chunks or maker.there(index)), claims.own, advance)
    while missing := [index for index in claims.own if index not in chunks and not look(index, reused=False)]:
        # others have claimed these
        abandoned = [index for index in missing if claims.abandoned(index)]
        chunks |= maker.make(iter(abandoned), claims.own, advance)
        if not abandoned:
            time.sleep(POLL_SECONDS)
    return [chunks[index] for index in claims.own]


class _ChunkMaker:
    """Makes the chunks of one model; the engine is loaded for the first missing chunk."""

    def __init__(
        self, context: StageContext, section: SampleSection, reference: ModelReference, parts: list[list[Prompt]]
    ) -> None:
        self._context, self._section, self._reference, self._parts = context, section, reference, parts
        self._engine: Engine | None = None
        self._template = steering_template(section.template) if section.template else ""
        self._seeds = [derived_seed(section.seed, "chunk", index) for index in range(len(parts))]
        engine = section.engine.kind
        common = [
            reference.digest,
            section.model_dump(mode="json", exclude={"chunk_size", "prompts"}),
            self._template,
            format_of("sample"),
            # the library versions of an endpoint's server are unknown here
            {} if engine == "endpoint" else model_library_versions(vllm=engine == "vllm"),
        ]
        self.keys = [
            digest_json([*common, seed, [prompt.model_dump(mode="json") for prompt in part]])
            for seed, part in zip(self._seeds, parts, strict=True)
        ]
        """Key of each chunk: the digest of everything that determines it."""
        self.counts: dict[str, int | float] = {"chunks_reused": 0, "tokens": 0, "tokens_new": 0, "truncated": 0}

    def rows(self, index: int) -> list[Row]:
        """Return the rows of a chunk: every prompt in each arm of its label, n times."""
        section = self._section
        return [
            (prompt, arm, number)
            for prompt in self._parts[index]
            for arm in section.arms[prompt.label]
            for number in range(section.n if prompt.answer is None else section.n_reasoning)
        ]

    def there(self, index: int) -> bool:
        """Return whether a chunk was completed; only reading it shows whether it is intact."""
        return has_chunk(self._context.store, self.keys[index])

    def find(self, index: int, *, reused: bool) -> Chunk | None:
        """Return a chunk in the store and count it, as reused if it existed before this stage started."""
        found = find_chunk(self._context.store, self.keys[index], index)
        if found:
            self._count(read_chunk(self._context.store, found, Sample))
            self.counts["chunks_reused"] += reused
        return found

    def make(self, wanted: Iterator[int], own: range, advance: Callable[[int], None]) -> dict[int, Chunk]:
        """Make chunks, each stored as soon as it is complete, and return those of ``own``.

        Args:
            wanted: Indices, taken as the engine has room.
            own: Chunks that count for this shard; ``advance`` counts their rows.
            advance: Called with the number of finished rows.
        """
        sent: list[tuple[int, list[int]]] = []
        made: dict[int, dict[int, Exchange]] = {}
        chunks: dict[int, Chunk] = {}
        in_turns: list[int] = []

        def batches() -> Iterator[Batch]:
            for index in wanted:
                scripts = [self._script(prompt, arm) for prompt, arm, _ in self.rows(index)]
                if any(len(script.turns) > 1 for script in scripts):
                    in_turns.append(index)  # a turn waits for the one before, so these cannot be streamed
                    continue
                made[index] = {}
                for settings in dict.fromkeys(script.settings for script in scripts):  # a batch has one set of settings
                    places = [place for place, script in enumerate(scripts) if script.settings == settings]
                    sent.append((index, places))
                    conversations = [last_turn(scripts[place]) for place in places]
                    yield Batch(conversations, settings, self._seeds[index], advance if index in own else _silent)

        def keep(index: int, exchanges: dict[int, Exchange]) -> None:
            chunk = self._write(index, exchanges, own=index in own)
            if index in own:
                chunks[index] = chunk

        waiting = batches()
        if (first := next(waiting, None)) is not None:
            for number, generations in stream(self._opened(), chain([first], waiting)):
                index, places = sent[number]
                made[index] |= zip(places, (Exchange((), each) for each in generations), strict=True)
                if len(made[index]) == len(self.rows(index)):
                    keep(index, made.pop(index))
        for index in in_turns:
            scripts = [self._script(prompt, arm) for prompt, arm, _ in self.rows(index)]
            hears = advance if index in own else _silent
            exchanges = converse(self._opened(), scripts, self._seeds[index], self._section.reasoning, hears)
            keep(index, dict(enumerate(exchanges)))
        return chunks

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(self._section.engine, self._reference, self._context.store)
        return self._engine

    def _write(self, index: int, made: dict[int, Exchange], *, own: bool) -> Chunk:
        samples = [
            Sample(
                id=f"{prompt.id}/{arm}/{number}", prompt=prompt, index=number, arm=arm,
                response=made[place].response.response,
                replies=tuple(reply.response for reply in made[place].replies),
                finish="length" if any(each.finish == "length" for each in said) else "stop",
                tokens=sum(each.tokens for each in said), prompt_tokens=made[place].response.prompt_tokens,
                seed=self._seeds[index], settings=self._settings(prompt),
            )
            for place, (prompt, arm, number) in enumerate(self.rows(index))
            for said in ((*made[place].replies, made[place].response),)
        ]
        chunk = write_chunk(self._context.store, self.keys[index], index, samples)
        self.counts["tokens_new"] += sum(sample.tokens for sample in samples)
        if own:
            first = chunk.digest == digest_bytes(dump_lines(samples))
            self._count(samples if first else read_chunk(self._context.store, chunk, Sample))
        return chunk

    def _count(self, samples: list[Sample]) -> None:
        self.counts["tokens"] += sum(sample.tokens for sample in samples)
        self.counts["truncated"] += sum(sample.finish == "length" for sample in samples)

    def _settings(self, prompt: Prompt) -> SamplingSettings:
        section = self._section
        return section.settings if prompt.answer is None else section.settings_reasoning or section.settings

    def _script(self, prompt: Prompt, arm: Arm) -> Script:
        steered = arm == "steered"
        turns = (steer(prompt.prompt, self._template),) if steered else prompt.turns or (prompt.prompt,)
        return Script(turns=turns, settings=self._settings(prompt), opening=prompt.opening)


def _silent(rows: int) -> None:
    """Progress of another shard's chunk, which is not in this one's total."""
