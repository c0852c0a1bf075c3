"""sample: prompts -> samples, in the arms that the section gives each label."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from thinksafe.config.sections import SampleSection
from thinksafe.digests import derived_seed, digest_file, digest_json, model_library_versions
from thinksafe.errors import InputError
from thinksafe.jsonl import read_records
from thinksafe.methods.steering import steer, steering_template
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.records import UNASKED, Arm, Prompt, Sample, SamplingSettings
from thinksafe.run.formats import format_of
from thinksafe.run.manifests import Chunk, Manifest, read_chunk, write_chunk, write_manifest
from thinksafe.run.record import Advance, StageContext, StageResult, recorded
from thinksafe.sampling.conversations import Exchange, Script, converse, last_turn
from thinksafe.sampling.engines import (
    Batch,
    Engine,
    Generation,
    LikelihoodEngine,
    StreamingEngine,
    open_engine,
    stream,
)
from thinksafe.sampling.lengths import Planned, require_room
from thinksafe.stages.retries import sample_again
from thinksafe.store import Store
from thinksafe.traces import CLOSE, split
from thinksafe.work.complete import Made, complete
from thinksafe.work.order import ChunkSet

MODEL, PROMPTS = "model.json", "prompts.jsonl"
"""Names of the input files for workers."""

Row = tuple[Prompt, Arm, int]


def run(
    context: StageContext, section: SampleSection, model: Path, prompts: Path, *, samples_out: Path,
    parallelism: int = 1,
) -> StageResult:
    """Write the manifest of a model's samples.

    Prompts in id order are cut into chunks of ``section.chunk_size``. A chunk is keyed by everything that determines
    it, and one that is already in the store is reused; so the samples do not depend on ``parallelism``, the most
    workers that share the chunks (:mod:`thinksafe.work`).

    Raises:
        InputError: the prompts or the model are missing, malformed or empty.
        ThinkSafeError: see :func:`thinksafe.work.complete.complete`.
    """
    with recorded(context, section) as result:
        reference = _writer(read_reference(model), section)
        result.inputs = {"model": reference.digest, "prompts": digest_file(prompts)}
        if reference.absent:
            write_manifest(samples_out, Manifest(kind="samples", absent=True, total=0, model=reference.digest))
            result.counts = {"rows": 0}
            return result

        def draw(section: SampleSection, prompts: Path) -> Made:
            sizes = [len(_rows(section, part)) for part in _parts(section, prompts)]
            made, = complete(
                context, section, result, label=f"sampling, retry {section.attempt}" if section.attempt else "sampling",
                files={MODEL: model, PROMPTS: prompts}, sizes=[sizes], opener=chunk_sets, parallelism=parallelism,
            )
            return made

        made, again = draw(section, prompts), {}
        if section.retries is not None:
            made, number = sample_again(
                context, section, section.retries, result, made, reference.digest, draw, parallelism
            )
            again = {"prompts_again": number}
        manifest = Manifest(
            kind="samples", total=len(made.chunks), model=reference.digest, chunks=tuple(made.chunks),
            instruments={"sampler": made.facts.get("instrument", "")},
        )
        write_manifest(samples_out, manifest)
        result.outputs = {"samples": manifest.digest}
        result.counts = {
            "rows": manifest.rows, "chunks": len(made.chunks), "chunks_reused": len(made.reused), **again,
            **_counts(context.store, made),
        }
    return result


def chunk_sets(store: Store, section: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[ChunkSet]:
    """Open the set of chunks that a worker makes; see :data:`thinksafe.work.worker.Opener`."""
    settings = SampleSection.model_validate(section)
    reference = _writer(read_reference(files[MODEL]), settings)
    yield _SampleChunks(store, settings, reference, _parts(settings, files[PROMPTS]))


def _counts(store: Store, made: Made) -> dict[str, int | float]:
    counts: dict[str, int | float] = {"responses": 0, "tokens": 0, "tokens_new": 0, "truncated": 0}
    for chunk in made.chunks:
        samples = read_chunk(store, chunk, Sample)
        tokens = sum(sample.tokens for sample in samples)
        counts["responses"] += sum(sample.arm not in UNASKED for sample in samples)
        counts["tokens"] += tokens
        counts["tokens_new"] += 0 if chunk.index in made.reused else tokens
        counts["truncated"] += sum(sample.finish == "length" for sample in samples)
    return counts


def _parts(section: SampleSection, prompts: Path) -> list[list[Prompt]]:
    """Return the prompts of each chunk. Raises InputError."""
    rows = sorted(read_records(prompts, Prompt), key=lambda prompt: prompt.id)
    rows = [row for row in rows if section.arms[row.label]]
    if not rows:
        raise InputError(f"{prompts} contains no prompts.", "Check the prepare stage.")
    _check_given([row for row in rows if "given" in section.arms[row.label]], section)
    if section.prompts:
        rows = _chosen(rows, section)
    return [rows[start : start + section.chunk_size] for start in range(0, len(rows), section.chunk_size)]


def _check_given(rows: list[Prompt], section: SampleSection) -> None:
    for row in rows:
        if not row.response:
            raise InputError(f"The prompt {row.id!r} has no response.", "Name its field in prompts.fields.response.")
    if section.reasoning == "think" and rows and not any(split(row.response, "think").complete for row in rows):
        raise InputError(
            f"None of the {len(rows)} given responses has a thought (the first is of the prompt {rows[0].id!r}), but "
            "the student thinks.",
            f"Give responses with a thought that ends with {CLOSE}, or set student.reasoning: none.",
        )


def _rows(section: SampleSection, part: list[Prompt]) -> list[Row]:
    """Return the rows of a chunk: every prompt in each arm of its label, n times."""
    return [
        (prompt, arm, number)
        for prompt in part
        for arm in section.arms[prompt.label]
        for number in _numbers(section, prompt, arm)
    ]


def _numbers(section: SampleSection, prompt: Prompt, arm: Arm) -> range:
    """Return the indices of a prompt's samples, which go on from those of the tries before."""
    if arm in UNASKED:
        return range(1)  # all would be the same
    if arm == "context":
        return range(len(section.contexts))
    times = section.n_reasoning if prompt.graded else section.n
    return range(section.attempt * times, (section.attempt + 1) * times)


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


class _SampleChunks:
    """Makes the chunks of one model; the engine is loaded for the first missing chunk."""

    def __init__(
        self, store: Store, section: SampleSection, reference: ModelReference, parts: list[list[Prompt]]
    ) -> None:
        self._store, self._section, self._reference, self._parts = store, section, reference, parts
        self._engine: Engine | None = None
        texts = {context.name: context.template for context in section.contexts}
        own = texts.get(section.template)
        self._template = own or (steering_template(section.template) if section.template else "")
        self._seeds = [derived_seed(section.seed, "chunk", index) for index in range(len(parts))]
        engine = section.engine.kind
        instrument = [
            format_of("sample"),
            # the library versions of an endpoint's server are unknown here
            {} if engine == "endpoint" else model_library_versions(vllm=engine == "vllm"),
        ]
        self.facts = {"instrument": digest_json(instrument)}
        common = [
            reference.digest,
            section.model_dump(mode="json", exclude={"chunk_size", "prompts", "retries"}),
            self._template,
            *instrument,
        ]
        self.keys = [
            digest_json([*common, seed, [prompt.model_dump(mode="json") for prompt in part]])
            for seed, part in zip(self._seeds, parts, strict=True)
        ]

    def make(self, wanted: Iterator[int], advance: Advance) -> Iterator[Chunk]:
        """Make chunks; see :class:`thinksafe.work.order.ChunkSet`."""
        sent: list[tuple[int, list[int]]] = []
        made: dict[int, dict[int, Exchange]] = {}
        in_turns: list[int] = []
        written: list[int] = []

        def batches() -> Iterator[Batch]:
            for index in wanted:
                if all(arm in UNASKED for _, arm, _ in self._rows(index)):
                    written.append(index)
                    advance(len(self._rows(index)))
                    continue
                scripts = [self._script(*row) for row in self._rows(index)]
                if any(len(script.turns) > 1 for script in scripts):
                    in_turns.append(index)  # a turn waits for the one before, so these cannot be streamed
                    continue
                made[index] = self._written(index)
                asked = [place for place in range(len(scripts)) if place not in made[index]]
                # a batch has one set of settings
                for settings in dict.fromkeys(scripts[place].settings for place in asked):
                    places = [place for place in asked if scripts[place].settings == settings]
                    sent.append((index, places))
                    conversations = [last_turn(scripts[place]) for place in places]
                    yield Batch(conversations, settings, self._seeds[index], advance)

        waiting = batches()
        if (first := next(waiting, None)) is not None:
            engine = self._opened()
            # an engine with other batches in flight cannot score responses in between
            busy = self._section.likelihoods and isinstance(engine, StreamingEngine)
            for number, generations in stream(engine, chain([first], waiting)):
                index, places = sent[number]
                made[index] |= zip(places, (Exchange((), each) for each in generations), strict=True)
                if len(made[index]) == len(self._rows(index)) and not busy:
                    yield self._write(index, made.pop(index))
            for index in sorted(made):
                yield self._write(index, made.pop(index))
        for index in written:
            yield self._write(index, self._written(index))
        for index in in_turns:
            found = self._written(index)
            asked = {place: row for place, row in enumerate(self._rows(index)) if place not in found}
            scripts = [self._script(*row) for row in asked.values()]
            exchanges = converse(self._opened(), scripts, self._seeds[index], self._section.reasoning, advance)
            yield self._write(index, found | dict(zip(asked, exchanges, strict=True)))

    def _written(self, index: int) -> dict[int, Exchange]:
        """Return the responses, by row, that no model writes."""
        found: dict[int, Exchange] = {}
        for place, (prompt, arm, _) in enumerate(self._rows(index)):
            if arm in UNASKED:
                text = {"template": self._section.written, "given": prompt.response}.get(arm, "")
                found[place] = Exchange((), Generation(text, "stop", tokens=0, prompt_tokens=0))
        return found

    def _rows(self, index: int) -> list[Row]:
        return _rows(self._section, self._parts[index])

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(self._section.engine, self._reference, self._store)
            require_room(self._engine, self._planned())
        return self._engine

    def _planned(self) -> Iterator[Planned]:
        """Yield what all chunks ask the model; of a conversation, what the user says: the replies come on top."""
        for prompt in chain.from_iterable(self._parts):
            for arm in self._section.arms[prompt.label]:
                different = len(self._section.contexts) if arm == "context" else arm not in UNASKED
                for number in range(different):
                    script = self._script(prompt, arm, number)
                    said = replace(script, turns=("\n".join(script.turns),))
                    yield Planned(prompt.id, last_turn(said), script.settings.max_tokens)

    def _write(self, index: int, made: dict[int, Exchange]) -> Chunk:
        likelihoods = self._likelihoods(index, made)
        samples = [
            Sample(
                id=f"{prompt.id}/{arm}/{number}", prompt=prompt, index=number, arm=arm,
                response=made[place].response.response,
                replies=tuple(reply.response for reply in made[place].replies),
                finish="length" if any(each.finish == "length" for each in said) else "stop",
                tokens=sum(each.tokens for each in said), prompt_tokens=made[place].response.prompt_tokens,
                seed=self._seeds[index], settings=self._settings(prompt, arm), nll=likelihoods.get(place),
                template=self._named(arm, number),
            )
            for place, (prompt, arm, number) in enumerate(self._rows(index))
            for said in ((*made[place].replies, made[place].response),)
        ]
        return write_chunk(self._store, self.keys[index], index, samples)

    def _likelihoods(self, index: int, made: dict[int, Exchange]) -> dict[int, float | None]:
        """Return the likelihoods, by row, of the responses that a model wrote to single prompts."""
        if not self._section.likelihoods or not isinstance(self._engine, LikelihoodEngine):
            return {}
        rows = self._rows(index)
        places = [
            place for place, exchange in made.items()
            if exchange.response.ids and not exchange.replies and rows[place][1] != "context"
        ]
        plain = [last_turn(self._script(rows[place][0], "plain")) for place in places]
        ids = [made[place].response.ids for place in places]
        return dict(zip(places, self._engine.likelihoods(list(zip(plain, ids, strict=True))), strict=True))

    def _settings(self, prompt: Prompt, arm: Arm) -> SamplingSettings:
        section = self._section
        found = section.settings_reasoning or section.settings if prompt.graded else section.settings
        # contexts are compared by what the model most likely says in them, as published
        return SamplingSettings(temperature=0.0, top_p=1.0, max_tokens=found.max_tokens) if arm == "context" else found

    def _named(self, arm: Arm, number: int) -> str:
        if arm == "context":
            return self._section.contexts[number].name
        return self._section.template if self._section.attempt else ""

    def _script(self, prompt: Prompt, arm: Arm, number: int = 0) -> Script:
        around = self._section.contexts[number].template if arm == "context" else self._template
        steered = arm in ("steered", "context")
        turns = (steer(prompt.prompt, around),) if steered else prompt.turns or (prompt.prompt,)
        return Script(turns=turns, settings=self._settings(prompt, arm), opening=prompt.opening)

