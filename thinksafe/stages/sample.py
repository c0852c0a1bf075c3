"""sample: prompts -> samples. Steered for harmful prompts where the section says so, plain otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from thinksafe.config.sections import Arm, SampleSection
from thinksafe.conversations import Script, converse
from thinksafe.digests import code_digest, derived_seed, digest_bytes, digest_file, digest_json
from thinksafe.engines import Engine, open_engine
from thinksafe.errors import InputError
from thinksafe.jsonl import dump_lines, read_records
from thinksafe.manifests import Chunk, Manifest, find_chunk, read_chunk, write_chunk, write_manifest
from thinksafe.models import ModelReference, read_reference
from thinksafe.records import Prompt, Sample
from thinksafe.stages.record import StageContext, StageResult, recorded
from thinksafe.steering import steer, steering_template

Row = tuple[Prompt, Arm, int]


def run(
    context: StageContext, section: SampleSection, model: Path, prompts: Path, shard: int, shards: int,
    *, samples_out: Path,
) -> StageResult:
    """Write the manifest of one shard's samples.

    Prompts in id order are cut into chunks of ``section.chunk_size``; shard i makes the chunks whose index is i modulo
    ``shards``, so the samples do not depend on the number of shards. A chunk is keyed by all that determines it, and
    one that is already in the store is used as it is.

    Raises:
        InputError: the prompts or the model are missing, malformed or empty.
    """
    with recorded(context, section) as result:
        reference = read_reference(model)
        result.inputs = {"model": reference.digest, "prompts": digest_file(prompts)}
        if reference.absent:
            write_manifest(samples_out, Manifest(kind="samples", absent=True, total=0, model=reference.digest))
            result.counts = {"rows": 0}
            return result
        rows = sorted(read_records(prompts, Prompt), key=lambda prompt: prompt.id)
        if not rows:
            raise InputError(f"{prompts} holds no prompts.", "Check the prepare stage.")
        parts = [rows[start : start + section.chunk_size] for start in range(0, len(rows), section.chunk_size)]
        mine = [(index, part) for index, part in enumerate(parts) if index % shards == shard]
        maker = _ChunkMaker(context, section, reference)
        chunks = []
        with context.track("sampling", sum(len(maker.rows(part)) for _, part in mine)) as advance:
            for index, part in mine:
                chunks.append(maker.chunk(index, part, advance))
        manifest = Manifest(
            kind="samples", total=len(parts), model=reference.digest, chunks=tuple(chunks)
        )
        write_manifest(samples_out, manifest)
        result.outputs = {"samples": manifest.digest}
        result.counts = {"rows": manifest.rows, "chunks": len(chunks), **maker.counts}
    return result


class _ChunkMaker:
    """Makes the chunks of one model; the engine is loaded when the first missing chunk needs it."""

    def __init__(self, context: StageContext, section: SampleSection, reference: ModelReference) -> None:
        self._context, self._section, self._reference = context, section, reference
        self._engine: Engine | None = None
        self._template = steering_template(section.template)
        self._key = [
            reference.digest,
            section.model_dump(mode="json", exclude={"chunk_size"}),
            self._template,
            code_digest(
                "engines", "conversations.py", "steering.py", "traces.py", "loading.py", "stages/sample.py"
            ),
        ]
        self.counts: dict[str, int | float] = {"chunks_reused": 0, "tokens": 0, "tokens_new": 0, "truncated": 0}

    def rows(self, prompts: list[Prompt]) -> list[Row]:
        """Return the rows of a chunk: every prompt in each arm of its label, n times."""
        section = self._section
        return [
            (prompt, arm, index)
            for prompt in prompts
            for arm in section.arms[prompt.label]
            for index in range(section.n if prompt.answer is None else section.n_reasoning)
        ]

    def chunk(self, index: int, prompts: list[Prompt], advance: Callable[[int], None]) -> Chunk:
        """Return one complete chunk, from the store when it is there."""
        seed = derived_seed(self._section.seed, "chunk", index)
        key = digest_json([*self._key, seed, [prompt.model_dump(mode="json") for prompt in prompts]])
        store = self._context.store
        if found := find_chunk(store, key, index):
            samples = read_chunk(store, found, Sample)
            self.counts["chunks_reused"] += 1
            advance(len(samples))
        else:
            samples = self._generate(self.rows(prompts), seed, advance)
            self.counts["tokens_new"] += sum(sample.tokens for sample in samples)
            found = write_chunk(store, key, index, samples)
            if found.digest != digest_bytes(dump_lines(samples)):  # another machine was first
                samples = read_chunk(store, found, Sample)
        self.counts["tokens"] += sum(sample.tokens for sample in samples)
        self.counts["truncated"] += sum(sample.finish == "length" for sample in samples)
        return found

    def _generate(self, rows: list[Row], seed: int, advance: Callable[[int], None]) -> list[Sample]:
        section = self._section
        if self._engine is None:
            self._engine = open_engine(section.engine, self._reference, self._context.store)
        scripts = [
            Script(
                turns=(steer(p.prompt, self._template),) if arm == "steered" else p.turns or (p.prompt,),
                settings=section.settings if p.answer is None else section.settings_reasoning or section.settings,
                opening=p.opening,
            )
            for p, arm, _ in rows
        ]
        exchanges = converse(self._engine, scripts, seed, section.reasoning, advance)
        return [
            Sample(
                id=f"{prompt.id}/{arm}/{index}", prompt=prompt, index=index, steered=arm == "steered",
                response=exchange.response.response, replies=tuple(reply.response for reply in exchange.replies),
                finish="length" if any(made.finish == "length" for made in said) else "stop",
                tokens=sum(made.tokens for made in said), prompt_tokens=exchange.response.prompt_tokens,
                seed=seed, settings=script.settings,
            )
            for (prompt, arm, index), script, exchange in zip(rows, scripts, exchanges, strict=True)
            for said in ((*exchange.replies, exchange.response),)
        ]
