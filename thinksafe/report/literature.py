"""What the paper published for the student of a run: beside the run's own numbers, and never among them."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from thinksafe.report.evidence import Row, Table
from thinksafe.report.summary import RunSummary
from thinksafe.report.tables import NONE, Cell

PAPER = "arXiv:2601.23143"
FILE = "arxiv-2601.23143.csv"
INITIAL = "initial"

STUDENTS = {
    **{f"Qwen/Qwen3-{size}": f"Qwen3-{size}" for size in ("0.6B", "1.7B", "4B", "8B", "14B", "32B")},
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": "R1-Distill-1.5B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "R1-Distill-7B",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": "R1-Distill-8B",
}
"""Names in the paper's tables by hub id."""

COLUMNS = {
    "harmbench": "HarmBench", "strongreject": "StrongREJECT", "wildjailbreak": "WildJailbreak",
    "xstest_over_refusal": "XSTest over-refusal", "safety_average": "Safety average", "aime_2024": "AIME 2024",
    "gsm8k": "GSM8K", "math_500": "MATH-500", "gpqa": "GPQA", "reasoning_average": "Average pass@1",
}
"""What stands in each column of the file."""


def literature(summary: RunSummary) -> Table | None:
    """Return the published numbers of the run's student: as it was, and by the run's method, one row a benchmark.

    None if the paper has no such student, or the student was changed before (a revision is not looked at).
    """
    name = STUDENTS.get(str(summary.setting("student", "model")))
    if name is None:
        return None
    method = str(summary.setting("method", "kind"))
    rows = [row for row in _rows() if row["model"] == name and row["method"] in (INITIAL, method)]
    return Table(
        heads=("Benchmark",), columns=tuple(row["method"].capitalize() for row in rows),
        rows=tuple(Row((words,), tuple(_cell(row[column]) for row in rows)) for column, words in COLUMNS.items()),
    )


def _cell(value: str) -> Cell:
    return Cell(f"{value} %", repr(float(value) / 100)) if value else NONE


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (resources.files("thinksafe") / "data" / "published" / FILE).read_text("utf-8")
    return tuple(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
