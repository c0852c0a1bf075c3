"""grade: samples of problems -> grades."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from thinksafe.config.sections import GradeSection
from thinksafe.digests import digest_json, library_versions
from thinksafe.judging.grading import grade
from thinksafe.records import Grade, Sample
from thinksafe.run.formats import format_of
from thinksafe.run.manifests import ensure_chunk, read_chunk, read_manifest, save_manifest, write_manifest
from thinksafe.run.record import StageContext, StageResult, recorded

LIBRARIES = ("math-verify", "latex2sympy2-extended", "sympy")
"""The libraries that decide whether two answers are equal."""


def run(context: StageContext, section: GradeSection, samples: Path, *, grades_out: Path) -> StageResult:
    """Write the manifest of the grades for a manifest of samples; samples without a reference answer get none."""
    with recorded(context, section) as result:
        manifest = read_manifest(samples)
        key = [section.model_dump(mode="json"), format_of("grade"), library_versions(*LIBRARIES)]

        def make(rows: list[Sample]) -> list[Grade]:
            return [grade(row, section.reasoning) for row in rows if row.prompt.answer is not None]

        chunks, reused = [], 0
        correct = truncated = 0
        with context.track("grading", manifest.rows) as advance:
            for source in manifest.chunks:
                rows = read_chunk(context.store, source, Sample)
                chunk, old = ensure_chunk(
                    context.store, digest_json([*key, source.digest]), source.index, partial(make, rows)
                )
                for row in read_chunk(context.store, chunk, Grade):
                    correct += row.correct
                    truncated += row.truncated
                chunks.append(chunk)
                reused += old
                advance(len(rows))
        grades = manifest.model_copy(update={"kind": "grades", "chunks": tuple(chunks)})
        save_manifest(context.store, grades)
        write_manifest(grades_out, grades)
        result.inputs = {"samples": manifest.digest}
        result.outputs = {"grades": grades.digest}
        result.counts = {
            "rows": grades.rows, "chunks": len(chunks), "chunks_reused": reused, "correct": correct,
            "truncated": truncated,
        }
    return result
