"""judge: samples -> verdicts. The guard reads each configured part of a response by itself."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from thinksafe.config.sections import JudgeSection
from thinksafe.digests import code_digest, digest_json
from thinksafe.guards import open_guard
from thinksafe.manifests import ensure_chunk, read_chunk, read_manifest, write_manifest
from thinksafe.records import Sample, Verdict
from thinksafe.stages.record import StageContext, StageResult, recorded
from thinksafe.traces import part_text


def run(context: StageContext, section: JudgeSection, samples: Path, *, verdicts_out: Path) -> StageResult:
    """Write the manifest of the verdicts on a manifest of samples, chunk by chunk.

    Verdict chunks are keyed by the samples' digest, the guard and the parts; finished ones are used as they are.
    """
    with recorded(context, section) as result:
        manifest = read_manifest(samples)
        guard = open_guard(section.guard)
        key = [
            guard.fingerprint,
            section.model_dump(mode="json", exclude={"chunk_size"}),
            code_digest("traces.py", "stages/judge.py"),
        ]

        def make(rows: list[Sample]) -> list[Verdict]:
            wanted = [row for row in rows if not (section.skip_problems and row.prompt.answer is not None)]
            asked = [(row, part) for row in wanted for part in section.parts]
            opinions = guard.judge(
                [(row.prompt, part_text(row.response, part, section.reasoning)) for row, part in asked]
            )
            return [
                Verdict(
                    sample_id=row.id, part=part, guard=guard.name, verdict=opinion.verdict, refusal=opinion.refusal,
                    p_unsafe=opinion.p_unsafe, shortened=opinion.shortened, categories=opinion.categories,
                    reason=opinion.reason,
                )
                for (row, part), opinion in zip(asked, opinions, strict=True)
            ]

        chunks, tally, reused = [], Counter[str](), 0
        with context.track("judging", manifest.rows) as advance:
            for source in manifest.chunks:
                rows = read_chunk(context.store, source, Sample)
                chunk, old = ensure_chunk(
                    context.store, digest_json([*key, source.digest]), source.index, partial(make, rows)
                )
                tally.update(v.verdict for v in read_chunk(context.store, chunk, Verdict) if v.part == "whole")
                chunks.append(chunk)
                reused += old
                advance(len(rows))
        verdicts = manifest.model_copy(update={"kind": "verdicts", "chunks": tuple(chunks)})
        write_manifest(verdicts_out, verdicts)
        result.inputs = {"samples": manifest.digest}
        result.outputs = {"verdicts": verdicts.digest}
        result.counts = {
            "rows": verdicts.rows, "chunks": len(chunks), "chunks_reused": reused,
            **{value: tally[value] for value in ("safe", "unsafe", "unknown")},
        }
        result.details = {"guard": guard.name, "guard_digest": guard.fingerprint}
    return result
