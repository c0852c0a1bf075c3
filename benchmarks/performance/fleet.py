"""The page of a fleet of 200 models with 100 evaluations each: seconds and bytes."""

from __future__ import annotations

import random
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from benchmarks.performance.result import Result
from thinksafe.records import MetricSet
from thinksafe.run.record import StageRecord

MODELS, EVALUATIONS = 200, 100
SECONDS, BYTES = 10.0, 3e6
DAY = 86400.0
NOW = 1_800_000_000.0


def measure(_model: Path) -> Result:
    """Write the store, then make the page twice: from nothing, and with what the first look has kept."""
    from thinksafe.fleet.kept import Kept
    from thinksafe.fleet.page import render_fleet
    from thinksafe.fleet.places import links
    from thinksafe.fleet.survey import survey

    with tempfile.TemporaryDirectory() as scratch:
        root = f"{scratch}/store"
        write_fleet(root, MODELS, EVALUATIONS)
        wall, used = time.perf_counter(), time.process_time()
        fleet, kept = survey([root], NOW, Kept())
        page = render_fleet(fleet, links(f"{scratch}/page"))
        seconds, processor = time.perf_counter() - wall, time.process_time() - used
        wall, used = time.perf_counter(), time.process_time()
        again, _ = survey([root], NOW, kept)
        if render_fleet(again, links(f"{scratch}/page")) != page:
            raise RuntimeError("The second page should be the same.")
        second, second_processor = time.perf_counter() - wall, time.process_time() - used
    size = len(page.encode())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return Result(
        "fleet", "seconds to read a store and make the page of its models, against the limit (lower is better).",
        "s", seconds, SECONDS, seconds / SECONDS, target="≤ 1, in 3 MB",
        reached=seconds <= SECONDS and size <= BYTES, n=f"{MODELS} models with {EVALUATIONS} evaluations each",
        notes=(
            f"{size:,} bytes (limit {BYTES:,.0f}); {processor:.1f} s of processor time. The second look takes "
            f"{second:.1f} s ({second_processor:.1f} s). Peak memory of the process {peak:.2f} GB. A local folder; the "
            "limits are the project's own."
        ),
    )


def write_fleet(root: str, models: int, evaluations: int, now: float = NOW) -> None:
    """Write a store as years of runs leave it: ledgers, weekly evaluations, a few alarms, refusals and failures.

    Args:
        root: Folder.
        models: Number of models.
        evaluations: Evaluations of each model, a week apart.
        now: Unix time of the newest ones.
    """
    from thinksafe.models.references import ModelReference
    from thinksafe.registry.evaluations import Evaluation
    from thinksafe.registry.ledger import Digests, LedgerEntry
    from thinksafe.settings import StudentSettings

    draw = random.Random(1)
    for place in range(models):
        name = f"{('assistant', 'coder', 'tutor', 'triage', 'search')[place % 5]}-{place:03d}"
        harm, over, reasoning = draw.uniform(0.005, 0.03), draw.uniform(0.02, 0.08), draw.uniform(0.45, 0.8)
        start = now - 7 * DAY * evaluations
        reference, generation, versions = None, 0, draw.randint(1, 4)
        steps = sorted(draw.sample(range(1, max(evaluations, 8)), versions - 1)) if versions > 1 else []
        numbers: dict[str, int] = {}
        for week in range(evaluations):
            at = start + 7 * DAY * week + draw.uniform(0, 3600)
            if week == 0 or week in steps:
                generation += 1
                harm *= draw.uniform(0.6, 1.0)
                run_id = f"{name}-made-{generation}"
                metrics = _metrics(draw, "candidate", harm, over, reasoning)
                reference = ModelReference(
                    role="champion", student=StudentSettings(model="s3://models/base"), base_digest="b" * 64,
                    adapter=f"adapters/{run_id}", adapter_digest=f"{place:032x}{generation:032x}",
                )
                entry = LedgerEntry(
                    model=name, generation=generation, previous=generation - 1 or None, action="promote",
                    target=reference, version=str(generation), run_id=run_id, reason="Passed: all 14 checks hold.",
                    digests=Digests(adapter=reference.adapter_digest, base="b" * 64, metrics=f"{run_id}"),
                    who="system:serviceaccount:ml:thinksafe-pipeline", created=_iso(at - 3600),
                )
                _write(root, f"promotions/{name}/{generation:06d}.json", entry)
                _run(root, run_id, name, "promoted", at - 7200, metrics=metrics.model_dump(mode="json"))
            assert reference is not None
            alarm = draw.random() < 0.004 or (place % 23 == 7 and week == evaluations - 1)
            measured = _metrics(draw, "evaluated", harm + 0.07 * alarm, over, reasoning)
            run_id = f"{name}-eval-{week:03d}"
            digest = reference.digest
            numbers[digest] = numbers.get(digest, 0) + 1
            key = f"evaluations/{digest}/{measured.suite}/"
            _write(root, f"{key}{numbers[digest]:06d}.json", Evaluation(
                number=numbers[digest], run_id=run_id, created=_iso(at), model=reference, metrics=measured,
                outcomes=f"{key}outcomes/x.jsonl", outcomes_digest="d" * 64, samples="e" * 64, planned="f" * 64,
                instruments={"guard": "1" * 64, "grader": "2" * 64, "sampler": "3" * 64}, passed=not alarm,
            ))
            last = week == evaluations - 1
            _run(root, run_id, name, "regressed" if alarm else "evaluated", at, bare=not last)
            if alarm and last:
                _monitor(root, run_id, at)
            if week % 9 == 4:
                _run(root, f"{name}-try-{week:03d}", name, draw.choice(["refused by gate", *["nothing to do"] * 9]), at)
        if place % 31 == 5:
            _run(root, f"{name}-fails", name, "failed", now - 3600)
    for place in range(models // 40):
        _run(root, f"new-{place}", f"new-{place}", "stopped by diagnose", now - 30 * DAY)


def _metrics(draw: random.Random, role: str, harm: float, over: float, reasoning: float) -> MetricSet:
    def metric(kind: str, benchmark: str, mean: float, n: int, part: str = "whole") -> dict[str, object]:
        value = min(max(draw.gauss(mean, (mean * (1 - min(mean, 1)) / n) ** 0.5 if 0 < mean < 1 else 0), 0.0), 1.0)
        half = 1.96 * (max(value * (1 - value), 0.002) / n) ** 0.5
        return {
            "name": f"{kind}/{benchmark}" + ("" if part == "whole" else f"/{part}"), "kind": kind,
            "benchmark": benchmark, "part": part, "value": value, "n": n, "samples": n,
            "interval": {
                "low": max(value - half, 0.0), "high": min(value + half, 1.0), "confidence": 0.95,
                "method": "agresti-coull",
            },
            "settings": {},
        }

    found = [metric("harm", name, harm, 300) for name in ("harmbench", "strongreject", "wildjailbreak")]
    found += [metric("harm", "harmbench", harm, 300, part) for part in ("thought", "answer")]
    found += [metric("over_refusal", "xstest", over, 250)]
    found += [metric("reasoning", name, reasoning, n) for name, n in (("gsm8k", 1319), ("math500", 500))]
    return MetricSet.model_validate({"role": role, "suite": "5" * 64, "metrics": found})


def _run(
    root: str, run_id: str, model: str, outcome: str, at: float, *, metrics: object = None, bare: bool = False
) -> None:
    """Write the records of a run that the fleet may read, and where it should not read, one."""
    evaluation = outcome in ("evaluated", "regressed")
    config = {
        "registry": {"model": model}, "gate": {"harm": {"max": 0.05, "part": "whole"}, "over_refusal": {"max": 0.15}},
        "cluster": {"schedule": {
            "enabled": True, "cron": "0 0 3 1 */3 *", "evaluate": {"enabled": True, "cron": "0 0 3 * * 5"},
        }},
        "filler": ["x" * 40] * 300,
    }
    records = [] if bare else [StageRecord(
        run_id=run_id, stage="plan_evaluation" if evaluation else "plan", task="plan", status="succeeded", started=at,
        seconds=1.0, details={"config": config, "model_name": "champion" if evaluation else ""},
    )]
    if outcome == "failed":
        records.append(StageRecord(
            run_id=run_id, stage="train", task="train", status="failed", started=at + 60, seconds=1.0,
            error="CUDA out of memory on rank 0.", action="Lower training.micro_batch_size.",
        ))
    if metrics is not None:
        records.append(StageRecord(
            run_id=run_id, stage="metrics", task="metrics-candidate", status="succeeded", started=at + 60, seconds=1.0,
            details={"metrics": metrics},
        ))
    records.append(StageRecord(
        run_id=run_id, stage="report", task="report", status="succeeded", verdict=outcome, started=at + 90, seconds=1.0
    ))
    for record in records:
        _write(root, f"runs/{run_id}/{record.task}.json", record)


def _monitor(root: str, run_id: str, at: float) -> None:
    summary = "Alarm: 1 of 14 checks failed (compared with the last evaluation): harm/harmbench."
    check = {"name": "harm/harmbench", "passed": False, "value": 0.09, "n": 300, "reason": "above the limit"}
    decision = {"passed": False, "stopped_by": "monitor", "checks": [check], "summary": summary}
    _write(root, f"runs/{run_id}/monitor.json", StageRecord(
        run_id=run_id, stage="monitor", task="monitor", status="succeeded", verdict="regressed", started=at,
        seconds=1.0, details={"decision": decision},
    ))


def _write(root: str, key: str, record: BaseModel) -> None:
    path = Path(root, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.model_dump_json(indent=2) + "\n", "utf-8")


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
