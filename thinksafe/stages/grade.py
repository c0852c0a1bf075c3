"""grade: samples of problems -> grades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thinksafe.config.sections import GradeSection
from thinksafe.digests import digest_json, library_versions
from thinksafe.judging.grading import grade
from thinksafe.records import Grade, Sample
from thinksafe.run.formats import format_of
from thinksafe.run.manifests import (
    Chunk,
    Manifest,
    read_chunk,
    read_manifest,
    save_manifest,
    write_chunk,
    write_manifest,
)
from thinksafe.run.record import Advance, StageContext, StageResult, recorded
from thinksafe.store import Store
from thinksafe.work.complete import complete
from thinksafe.work.order import ChunkSet

LIBRARIES = ("mpmath", "py3langid")
"""What decides whether two answers are equal, where they are not rational, and in which language an answer is."""
SAMPLES = "samples.json"
"""Name of the input file for workers."""


def run(
    context: StageContext, section: GradeSection, samples: Path, *, grades_out: Path, parallelism: int = 1
) -> StageResult:
    """Write the manifest of the grades for a manifest of samples; samples without a reference answer get none.

    Grades do not depend on ``parallelism``, the most workers that share the chunks.
    """
    with recorded(context, section) as result:
        manifest = read_manifest(samples)
        result.inputs = {"samples": manifest.digest}
        chunks, reused, instruments = list[Chunk](), 0, dict(manifest.instruments)
        if manifest.chunks:
            made, = complete(
                context, section, result, label="grading", files={SAMPLES: samples},
                sizes=[[chunk.rows for chunk in manifest.chunks]], opener=chunk_sets, parallelism=parallelism,
            )
            chunks, reused = made.chunks, len(made.reused)
            instruments["grader"] = made.facts.get("instrument", "")
        correct = truncated = 0
        for chunk in chunks:
            for row in read_chunk(context.store, chunk, Grade):
                correct += row.correct
                truncated += row.truncated
        grades = manifest.model_copy(
            update={"kind": "grades", "chunks": tuple(chunks), "instruments": instruments}
        )
        save_manifest(context.store, grades)
        write_manifest(grades_out, grades)
        result.outputs = {"grades": grades.digest}
        result.counts = {
            "rows": grades.rows, "chunks": len(chunks), "chunks_reused": reused, "correct": correct,
            "truncated": truncated,
        }
    return result


def chunk_sets(store: Store, section: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[ChunkSet]:
    """Open the set of chunks that a worker makes; see :data:`thinksafe.work.worker.Opener`."""
    yield _GradeChunks(store, GradeSection.model_validate(section), read_manifest(files[SAMPLES]))


class _GradeChunks:
    """Makes the chunks of grades."""

    def __init__(self, store: Store, section: GradeSection, manifest: Manifest) -> None:
        self._store, self._section, self._manifest = store, section, manifest
        instrument = [format_of("grade"), library_versions(*LIBRARIES)]
        self.facts = {"instrument": digest_json(instrument)}
        key = [section.model_dump(mode="json"), *instrument]
        self.keys = [digest_json([*key, source.digest]) for source in manifest.chunks]

    def make(self, wanted: Iterator[int], advance: Advance) -> Iterator[Chunk]:
        """Make chunks; see :class:`thinksafe.work.order.ChunkSet`."""
        for index in wanted:
            source = self._manifest.chunks[index]
            rows = read_chunk(self._store, source, Sample)
            grades = [grade(row, self._section.reasoning) for row in rows if row.prompt.graded]
            yield write_chunk(self._store, self.keys[index], source.index, grades)
            advance(len(rows))
