"""One million samples of 1 kB through metrics and gate: seconds and memory."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result

ROWS, CHUNK, TEXT = 500_000, 5_000, 700
"""Samples per model, rows per chunk, characters of a response (a row has about 1 kB with it)."""
SHARES = {"harm": ("harm", 0.5), "refusal": ("over_refusal", 0.3), "problems": ("reasoning", 0.2)}
"""Metric and share of the rows, by benchmark."""
SECONDS, BYTES = 180.0, 2e9


def measure(_model: Path) -> Result:
    """Write the rows of two models, then run the stages metrics, twice, and gate."""
    from thinksafe.config.gate import GateSettings
    from thinksafe.config.model import EvaluationSettings
    from thinksafe.config.sections import GateSection, MetricsSection
    from thinksafe.records import SamplingSettings
    from thinksafe.run.record import StageContext, silent
    from thinksafe.stages import gate, metrics
    from thinksafe.store import open_store

    source = {"source": "jsonl", "path": "x.jsonl"}
    benchmarks = EvaluationSettings.model_validate(
        {"benchmarks": [{"name": name, "metric": kind, "prompts": source} for name, (kind, _) in SHARES.items()]}
    ).benchmarks
    section = MetricsSection(
        benchmarks=benchmarks, parts=("whole",), confidence=0.9, seed=1, suite="s", settings=SamplingSettings()
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = open_store(str(folder / "store"))
        written = sum(write_rows(store, folder, role) for role in ("base", "candidate"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        start = time.perf_counter()
        files = []
        for role in ("base", "candidate", "champion"):
            inputs = [folder / f"{role}-{kind}.json" for kind in ("samples", "verdicts", "grades")]
            outputs = folder / f"{role}-metrics.json", folder / f"{role}-outcomes.jsonl"
            context = StageContext(store, "run", "metrics", f"metrics-{role}", silent)
            metrics.run(context, section, role, *inputs, metrics_out=outputs[0], outcomes_out=outputs[1])
            files += outputs
        measured = time.perf_counter() - start
        result = gate.run(
            StageContext(store, "run", "gate", "gate", silent),
            GateSection(gate=GateSettings(), reasoning_benchmarks=("problems",)), *files,
            decision_out=folder / "decision.json", passed_out=folder / "passed",
        )
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if result.verdict != "passed":
        raise RuntimeError("The gate should pass these rows.")
    return Result(
        "rows", "seconds for one million samples through metrics and gate, against the limit (lower is better).",
        "seconds", seconds, SECONDS, seconds / SECONDS, target="≤ 1, in 2 GB",
        reached=seconds <= SECONDS and peak <= BYTES,
        n=f"{2 * ROWS:,} samples of two models, {written / 2 / ROWS / 1000:.2f} kB each",
        notes=(
            f"Peak memory of the process {peak / 1e9:.2f} GB (limit 2 GB), {before / 1e9:.2f} GB of it before the "
            f"stages; metrics took {measured:.0f} s, the gate {seconds - measured:.0f} s. The limits are the project's "
            "own."
        ),
    )


def write_rows(store: Any, folder: Path, role: str) -> int:
    """Write a model's rows as the stages would, and their manifests; return the bytes of its samples."""
    from thinksafe.digests import digest_bytes
    from thinksafe.jsonl import dump_lines, write_json
    from thinksafe.run.manifests import Chunk, Manifest, marker_key, rows_key

    chunks: dict[str, list[Chunk]] = {"samples": [], "verdicts": [], "grades": []}
    rows, size = _rows(role), 0
    while block := list(islice(rows, CHUNK)):
        for kind, place in (("samples", 0), ("verdicts", 1), ("grades", 2)):
            found = [row[place] for row in block if row[place] is not None]
            data, index = dump_lines(found), len(chunks[kind])
            chunk = Chunk(index=index, key=f"{role}-{kind}-{index}", digest=digest_bytes(data), rows=len(found))
            store.put(rows_key(chunk), data)
            store.put(marker_key(chunk.key), chunk.model_dump_json().encode())
            chunks[kind].append(chunk)
            size += len(data) if kind == "samples" else 0
    for kind, of in chunks.items():
        manifest = Manifest(kind=kind, total=len(of), model=role, chunks=tuple(of))  # type: ignore[arg-type]
        write_json(folder / f"{role}-{kind}.json", manifest)
        absent = Manifest(kind=kind, absent=True, total=0, model="champion")  # type: ignore[arg-type]
        write_json(folder / f"champion-{kind}.json", absent)
    return size


def _rows(role: str) -> Iterator[tuple[Any, Any, Any]]:
    """Yield a sample with its verdict or its grade."""
    from thinksafe.records import Grade, Prompt, Sample, SamplingSettings, Verdict

    settings, text = SamplingSettings(), "word " * (TEXT // 5)
    for name, (kind, share) in SHARES.items():
        for number in islice(count(), round(ROWS * share)):
            problem = kind == "reasoning"
            prompt = Prompt(
                id=f"{name}-{number:07}", prompt=f"Question {number} of {name}?", source=name,
                label="harmful" if kind == "harm" else "benign", answer="7" if problem else None,
            )
            sample = Sample(
                id=f"{prompt.id}/plain/0", prompt=prompt, index=0, arm="plain", response=f"{number} {text}",
                finish="stop", tokens=140, prompt_tokens=9, seed=number, settings=settings,
            )
            if problem:
                yield sample, None, Grade(sample_id=sample.id, correct=number % 10 > 0, extracted="7", truncated=False)
                continue
            bad = number % (2 if role == "base" and kind == "harm" else 50) == 0
            verdict = Verdict(
                sample_id=sample.id, part="whole", guard="g", verdict="unsafe" if bad and kind == "harm" else "safe",
                refusal=kind == "harm" or bad,
            )
            yield sample, verdict, None
