"""The report of a run of one million samples with revealed texts: bytes of the page, seconds and memory."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result
from benchmarks.performance.rows import ROWS, SHARES, write_rows

PAGE, SECONDS, BYTES = 3e6, 180.0, 1e9


def measure(_model: Path) -> Result:
    """Write the rows of two models and the records of their judges and graders, then run the stage report."""
    from thinksafe.jsonl import read_record
    from thinksafe.run.manifests import Manifest, save_manifest
    from thinksafe.run.record import StageContext, StageRecord, silent, write_stage_record
    from thinksafe.stages import report
    from thinksafe.store import open_store

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = open_store(str(folder / "store"))
        common: dict[str, Any] = {"run_id": "run", "status": "succeeded", "started": 0.0, "seconds": 1.0}
        for role in ("base", "candidate"):
            write_rows(store, folder, role)
            found = {
                kind: read_record(folder / f"{role}-{kind}.json", Manifest)
                for kind in ("samples", "verdicts", "grades")
            }
            for manifest in found.values():
                save_manifest(store, manifest)
            for stage, kind in (("judge", "verdicts"), ("grade", "grades")):
                record = StageRecord(
                    **common, stage=stage, task=f"{stage}-{role}-0", inputs={"samples": found["samples"].digest},
                    outputs={kind: found[kind].digest},
                )
                write_stage_record(store, record)
        config = {
            "report": {"reveal_harmful": True},
            "evaluation": {"benchmarks": [{"name": name, "metric": kind} for name, (kind, _) in SHARES.items()]},
        }
        write_stage_record(store, StageRecord(**common, stage="plan", task="plan", details={"config": config}))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        start = time.perf_counter()
        report.run(StageContext(store, "run", "report", "report", silent), report_out=folder / "report.html")
        seconds = time.perf_counter() - start
        page = (folder / "report.html").read_text("utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if f"500 of {ROWS:,} samples" not in page:
        raise RuntimeError("The page should show 500 rows.")
    size = len(page.encode())
    return Result(
        "report", "bytes of the report of a run of one million samples, against the limit (lower is better).",
        "bytes", size, PAGE, size / PAGE, target="≤ 1, in 1 GB",
        reached=size <= PAGE and seconds <= SECONDS and peak <= BYTES,
        n=f"{2 * ROWS:,} samples of two models, 500 rows shown with their texts",
        notes=(
            f"{seconds:.0f} s (limit {SECONDS:.0f} s); peak memory of the process {peak / 1e9:.2f} GB (limit 1 GB), "
            f"{before / 1e9:.2f} GB of it before the stage. The limits are the project's own."
        ),
    )
