"""Rows that the stage metrics reads, and the stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thinksafe.config.sections import MetricsSection
from thinksafe.jsonl import read_record, read_records
from thinksafe.records import (
    Grade,
    MetricSet,
    Outcome,
    Part,
    Prompt,
    Record,
    Sample,
    SamplingSettings,
    Verdict,
)
from thinksafe.run.manifests import Manifest, RowKind, write_chunk, write_manifest
from thinksafe.run.record import StageContext, StageResult, silent
from thinksafe.stages import metrics
from thinksafe.store.local import LocalStore

SETTINGS = SamplingSettings(max_tokens=100)


KINDS = {"harmbench": "harm", "xstest": "over_refusal", "gsm8k": "reasoning"}


def sample(source: str, prompt: int, index: int = 0, **fields: Any) -> Sample:
    graded = source == "gsm8k"
    of = Prompt(
        id=f"{source}-{prompt}", prompt=f"text {source} {prompt}", source=source,
        label="harmful" if source == "harmbench" else "benign", answer="7" if graded else None,
    )
    values = {
        "id": f"{of.id}/plain/{index}", "prompt": of, "index": index, "arm": "plain", "response": "r",
        "finish": "stop", "tokens": 1, "prompt_tokens": 1, "seed": 0, "settings": SETTINGS,
    }
    return Sample.model_validate(values | fields)


def verdict(of: Sample, value: str = "safe", refusal: bool | None = False, part: Part = "whole") -> Verdict:
    values = {"sample_id": of.id, "part": part, "guard": "g", "verdict": value, "refusal": refusal}
    return Verdict.model_validate(values)


def grade(of: Sample, correct: bool, truncated: bool = False) -> Grade:
    return Grade(sample_id=of.id, correct=correct, extracted="7", truncated=truncated)


@dataclass
class Rows:
    """What the stage reads; every benchmark has something by default."""

    samples: list[Sample] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    grades: list[Grade] = field(default_factory=list)

    @classmethod
    def whole(cls) -> Rows:
        rows = cls()
        for i in range(4):
            rows.judge(sample("harmbench", i), "unsafe" if i == 0 else "safe", True)
            rows.judge(sample("xstest", i), "safe", i == 0)
            rows.grade(sample("gsm8k", i), i != 0)
        return rows

    def judge(self, of: Sample, value: str, refusal: bool | None) -> None:
        self.samples.append(of)
        self.verdicts.append(verdict(of, value, refusal))

    def grade(self, of: Sample, correct: bool, truncated: bool = False) -> None:
        self.samples.append(of)
        self.grades.append(grade(of, correct, truncated))


class Stage:
    """Runs the stage on rows in a real store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalStore(folder / "store")
        self.written = 0

    def manifest(self, kind: RowKind, rows: Sequence[Record], size: int, fields: dict[str, Any]) -> Path:
        chunks = []
        for start in range(0, len(rows), size):
            self.written += 1
            part = list(rows[start : start + size])
            chunks.append(write_chunk(self.store, f"{kind}{self.written}", len(chunks), part))
        values = {"kind": kind, "total": len(chunks), "model": "m", "chunks": chunks} | fields
        path = self.folder / f"{kind}.json"
        write_manifest(path, Manifest.model_validate(values))
        return path

    def __call__(
        self, rows: Rows, *, parts: tuple[Part, ...] = ("whole",), sizes: tuple[int, int, int] = (3, 5, 2),
        fields: dict[str, dict[str, Any]] | None = None, role: Any = "candidate", suite: str = "suite",
        benchmarks: Sequence[str] = tuple(KINDS), own: SamplingSettings | None = None,
        reasoning: str = "none",
    ) -> tuple[MetricSet, list[Outcome], StageResult]:
        section = MetricsSection.model_validate(
            {
                "benchmarks": [
                    {"name": name, "metric": KINDS[name], "prompts": {"source": "jsonl", "path": "x"}}
                    for name in benchmarks
                ],
                "parts": parts, "confidence": 0.9, "seed": 0, "suite": suite, "settings": SETTINGS,
                "settings_reasoning": own, "reasoning": reasoning,
            }
        )
        more = fields or {}
        paths = [
            self.manifest("samples", rows.samples, sizes[0], more.get("samples", {})),
            self.manifest("verdicts", rows.verdicts, sizes[1], more.get("verdicts", {})),
            self.manifest("grades", rows.grades, sizes[2], more.get("grades", {})),
        ]
        context = StageContext(self.store, "run", "metrics", f"metrics-{role}", silent)
        out, rows_out = self.folder / "metrics.json", self.folder / "outcomes.jsonl"
        result = metrics.run(context, section, role, *paths, metrics_out=out, outcomes_out=rows_out)
        return read_record(out, MetricSet), list(read_records(rows_out, Outcome)), result
